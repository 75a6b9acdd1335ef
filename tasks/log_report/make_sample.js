/**
 * Prints an access log as a busy web shop might have it; the same one each time.
 *
 *     node tasks/log_report/make_sample.js 4000 > tasks/log_report/samples/access.log
 */
const lines = Number(process.argv[2] ?? 4000);

/** A small generator of even numbers from 0 to 1 (mulberry32), so that the sample can be made again. */
let seed = 20261123;
function random() {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const pick = (list) => list[Math.floor(random() * list.length)];

/** [method, path, weight, the usual seconds] */
const routes = [
  ['GET', '/', 20, 0.03],
  ['GET', '/products', 14, 0.12],
  ['GET', '/products/:id', 22, 0.06],
  ['GET', '/search?q=:word&page=:page', 8, 0.35],
  ['GET', '/cart', 6, 0.05],
  ['POST', '/cart/items', 5, 0.08],
  ['POST', '/checkout', 2, 0.9],
  ['POST', '/login', 3, 0.25],
  ['GET', '/account/orders', 3, 0.2],
  ['GET', '/reports/sales.csv?month=:month', 0.4, 4.5],
  ['GET', '/static/app.css', 10, 0.004],
  ['GET', '/static/app.js', 10, 0.006],
  ['GET', '/favicon.ico', 4, 0.002],
  ['GET', '/healthz', 6, 0.001],
  ['GET', '/wp-login.php', 1.5, 0.002],
];
const totalWeight = routes.reduce((sum, route) => sum + route[2], 0);
const hosts = Array.from({ length: 60 }, (_, n) =>
  n % 10 === 9
    ? `2001:db8::${(n * 37).toString(16)}`
    : `${['192.0.2', '198.51.100', '203.0.113'][n % 3]}.${(n * 7) % 254}`,
);
const agents = [
  'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1',
  'curl/8.14.1',
  'ExampleBot/2.1 (+https://bot.example/about)',
];
const words = ['lamp', 'chair', 'desk+oak', 'rug', 'shelf', 'sofa+green'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function route() {
  let left = random() * totalWeight;
  for (const candidate of routes) {
    left -= candidate[2];
    if (left < 0) return candidate;
  }
  return routes[0];
}

function filled(path) {
  return path
    .replace(':id', () => String(1 + Math.floor(random() ** 2 * 40)))
    .replace(':word', () => pick(words))
    .replace(':page', () => String(1 + Math.floor(random() * 5)))
    .replace(':month', () => String(1 + Math.floor(random() * 12)));
}

function statusOf(method, path) {
  const chance = random();
  if (path === '/wp-login.php' || chance < 0.02) return 404;
  if (chance < 0.025) return 500;
  if (chance < 0.03 && path.startsWith('/search')) return 503;
  if (path === '/login' && chance < 0.2) return 401;
  if (path.startsWith('/static/') && chance < 0.5) return 304;
  if (method === 'POST') return 303;
  return 200;
}

function stamp(time) {
  const date = new Date(time);
  const two = (n) => String(n).padStart(2, '0');
  const day = `${two(date.getUTCDate())}/${months[date.getUTCMonth()]}/${date.getUTCFullYear()}`;
  return `${day}:${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} +0000`;
}

let time = Date.UTC(2026, 10, 23, 6, 0, 0);
let output = '';
for (let n = 1; n <= lines; n++) {
  time += Math.floor(random() * 9000);
  const [method, pattern, , usual] = route();
  const path = filled(pattern);
  const status = statusOf(method, path);
  const seconds = (status === 503 ? 10 : usual * (0.4 + random() * 1.2) * (random() < 0.01 ? 8 : 1)).toFixed(
    3,
  );
  const bytes = status === 304 ? '-' : 200 + Math.floor(random() * 40_000);
  const referrer = random() < 0.5 ? '-' : 'https://shop.example/products';
  const line = `${pick(hosts)} - - [${stamp(time)}] "${method} ${path} HTTP/1.1" ${status} ${bytes} "${referrer}" "${pick(agents)}" ${seconds}`;
  // Real logs have such lines too: one cut off where a server died, and what a port scanner says instead of HTTP.
  if (n % 977 === 0) output += `${line.slice(0, 60)}\n`;
  else if (n % 613 === 0)
    output += `${pick(hosts)} - - [${stamp(time)}] "\\x16\\x03\\x01\\x02" 400 0 "-" "-" 0.000\n`;
  else output += `${line}\n`;
}
process.stdout.write(output);
