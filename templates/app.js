// What a page can't do without a script: copying, and bars that move. Every page works without it.
'use strict';

for (const button of document.querySelectorAll('button.copy')) {
  button.hidden = false;
  button.addEventListener('click', async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without TLS browsers have no clipboard for pages: select it, and let them copy.
      const range = document.createRange();
      range.selectNodeContents(document.getElementById(button.dataset.copy));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand('copy');
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
}

// Times in the reader's own zone; the page says them in UTC.
for (const time of document.querySelectorAll('time[datetime]')) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) continue;
  time.title = time.textContent;
  time.textContent = at.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}

// The rows of a page by a column.
for (const table of document.querySelectorAll('table.sortable')) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      for (const other of table.tHead.rows[0].cells) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const text = (row) => row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => text(a).localeCompare(text(b), undefined, { numeric: true }) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}

// What an address leads to may lie in something that is closed.
function reveal() {
  const closed = document.getElementById(location.hash.slice(1))?.closest('details');
  if (closed) closed.open = true;
}
addEventListener('hashchange', reveal);
reveal();

const tables = document.getElementById('tables');
const opened = Date.now();
async function follow() {
  // A small lab is synchronised within seconds: whoever has just pressed the button is to see it.
  let pause = Date.now() - opened < 5000 ? 100 : 2000;
  try {
    const { mirror } = await (await fetch('/-/mirror.json')).json();
    for (const row of tables.querySelectorAll('tr[data-endpoint]')) {
      const run = (mirror.progress || {})[row.dataset.endpoint];
      const table = mirror.tables.find((one) => one.endpoint === row.dataset.endpoint);
      if (table) row.querySelector('.rows').textContent = table.rows;
      if (!run) continue;
      const bar = row.querySelector('progress');
      bar.hidden = !run.moving;
      if (!bar.hidden) pause = 250;
      bar.max = Math.max(run.total, 1);
      bar.value = run.here;
      row.querySelector('.phase').textContent = run.text;
    }
  } catch {
    // The proxy is being restarted, perhaps: the next look will tell.
  }
  setTimeout(follow, pause);
}
if (tables) follow();
