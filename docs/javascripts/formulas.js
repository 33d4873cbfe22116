// Formulas become MathML, which browsers draw themselves: KaTeX lies beside this file, so
// that the site needs no network, and no fonts. Pages mark formulas by \( and \[, in
// notebooks they stand between dollars.
document.addEventListener("DOMContentLoaded", () => {
  for (const part of document.querySelectorAll(".arithmatex, .jp-RenderedMarkdown")) {
    renderMathInElement(part, {
      output: "mathml",
      delimiters: [
        { left: "$$", right: "$$", display: true },
        { left: "\\[", right: "\\]", display: true },
        { left: "\\(", right: "\\)", display: false },
        { left: "$", right: "$", display: false },
      ],
    });
  }
});
