(function () {
  var root = document.currentScript.closest(".vl-slider"), input = root.querySelector("input"),
    said = root.querySelector("output"), frames = root.querySelectorAll(".vl-frame");
  function move() {
    frames.forEach(function (frame, i) {
      var on = i === +input.value;
      frame.classList.toggle("vl-on", on);
      if (on) {
        said.textContent = frame.dataset.value;
        input.setAttribute("aria-valuetext", frame.dataset.value);
      }
    });
  }
  input.addEventListener("input", move);
  window.addEventListener("pageshow", move);
  move();
})()
