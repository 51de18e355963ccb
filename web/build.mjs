/*
 * Builds the page into dist/: one script, one style sheet and the icon, named by their content, and
 * index.html, which names them and holds nothing else that runs. Prints what a first load costs.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const web = dirname(fileURLToPath(import.meta.url));
const dist = join(web, 'dist');
const FIRST_LOAD_MAX = 150 * 1024;

const result = await build({
    entryPoints: [join(web, 'src/main.tsx')],
    outdir: join(dist, 'assets'),
    entryNames: '[name]',
    bundle: true,
    format: 'esm',
    target: ['es2022', 'chrome109', 'firefox115', 'safari16.4'],
    minify: true,
    legalComments: 'none',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    define: { 'process.env.NODE_ENV': '"production"' },
    charset: 'utf8',
    write: false,
});

rmSync(dist, { recursive: true, force: true });
mkdirSync(join(dist, 'assets'), { recursive: true });

const sizes = [];
function put(name, data) {
    writeFileSync(join(dist, name), data);
    const gzip = gzipSync(data, { level: 9 }).length;
    sizes.push({ name, plain: data.length, gzip, brotli: brotliCompressSync(data).length });
}

function putHashed(stem, extension, data) {
    const hash = createHash('sha256').update(data).digest('hex').slice(0, 12);
    const name = `assets/${stem}-${hash}.${extension}`;
    put(name, data);
    return name;
}

const output = (extension) => {
    const file = result.outputFiles.find((f) => f.path.endsWith(`.${extension}`));
    return Buffer.from(file.contents);
};
const names = {
    JS: putHashed('app', 'js', output('js')),
    CSS: putHashed('app', 'css', output('css')),
    ICON: putHashed('icon', 'svg', readFileSync(join(web, 'src/icon.svg'))),
};
const html = readFileSync(join(web, 'src/index.html'), 'utf8').replace(/%(\w+)%/g, (_, k) => names[k]);
put('index.html', Buffer.from(html));

let total = 0;
for (const s of sizes) {
    total += s.gzip;
    console.log(`${s.name}: ${s.plain} bytes, gzip ${s.gzip}, brotli ${s.brotli}`);
}
const brotli = sizes.reduce((n, s) => n + s.brotli, 0);
console.log(`first load: gzip ${(total / 1024).toFixed(1)} KB, brotli ${(brotli / 1024).toFixed(1)} KB`);
if (total > FIRST_LOAD_MAX) {
    console.error(`the first load is above ${FIRST_LOAD_MAX / 1024} KB`);
    process.exit(1);
}
