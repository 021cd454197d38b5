// The cards differ in the pictures alone, so there is one, and choosing fills it anew.
(function () {
  var root = document.currentScript.closest(".vl-search"), select = root.querySelector("select"),
    head = root.querySelector("p"), rows = root.querySelectorAll(".vl-row"),
    data = JSON.parse(root.querySelector(".vl-data").textContent);
  function put(row, name, text) { row.querySelector(name).textContent = text; }
  function show() {
    var card = data.cards[select.selectedIndex];
    head.textContent = card[0];
    rows.forEach(function (row, i) {
      var said = card[1][i];
      put(row, ".vl-hits", said[0]);
      put(row, ".vl-first", said[1]);
      row.querySelectorAll(".vl-tile").forEach(function (tile, j) {
        // twice the number of the picture, and one more if it is framed
        var picture = data.pictures[said[2][j] >> 1], right = said[2][j] % 2 === 1;
        tile.title = picture[0];
        tile.setAttribute("aria-label", picture[0] + (right ? data.right : ""));
        tile.classList.toggle("vl-right", right);
        tile.style.backgroundPosition = picture[1];
      });
    });
  }
  select.addEventListener("change", show);
  window.addEventListener("pageshow", show);
  show();
})()
