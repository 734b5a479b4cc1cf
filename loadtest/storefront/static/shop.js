// The shop's own script: says under each row of suggestions how it was chosen, so that a demonstration can be read.
(function () {
  'use strict';
  const words = { blend: 'from what you looked at', neighbours: 'near what you are looking at', trending: 'what is rising', popular: 'what others like' };
  document.addEventListener('afterclick:shown', ({ target, detail }) => {
    const line = target.querySelector('.why');
    if (line) line.textContent = `${words[detail.served_by] || detail.served_by} · ${Number(detail.took_ms).toFixed(1)} ms`;
  });
})();
