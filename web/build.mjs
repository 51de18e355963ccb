/*
 * Builds the page into dist/: scripts, one style sheet and the icons, named by their content; what
 * names them: index.html, which holds nothing else that runs, the manifest and the service worker.
 * Prints what a first load costs: all but what comes later, such as the languages.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { emojiPlugin } from './tools/emoji.mjs';
import { png } from './tools/icons.mjs';

const web = dirname(fileURLToPath(import.meta.url));
const dist = join(web, 'dist');
const FIRST_LOAD_MAX = 150 * 1024;

const options = {
    absWorkingDir: web,
    bundle: true,
    target: ['es2022', 'chrome109', 'firefox115', 'safari16.4'],
    minify: true,
    legalComments: 'none',
    charset: 'utf8',
    write: false,
};
const result = await build({
    ...options,
    entryPoints: { app: join(web, 'src/main.tsx') },
    outdir: dist,
    entryNames: 'assets/[name]-[hash]',
    chunkNames: 'assets/[name]-[hash]',
    splitting: true,
    format: 'esm',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    define: { 'process.env.NODE_ENV': '"production"' },
    metafile: true,
    plugins: [emojiPlugin],
});

rmSync(dist, { recursive: true, force: true });
mkdirSync(join(dist, 'assets'), { recursive: true });

const sizes = [];
function put(name, data, first) {
    writeFileSync(join(dist, name), data);
    const gzip = gzipSync(data, { level: 9 }).length;
    sizes.push({ name, plain: data.length, gzip, brotli: brotliCompressSync(data).length, first });
}

function putHashed(stem, extension, data, first = false) {
    const hash = createHash('sha256').update(data).digest('hex').slice(0, 12);
    const name = `assets/${stem}-${hash}.${extension}`;
    put(name, data, first);
    return name;
}

/* The entry, its style sheet, and the chunks that it imports at once, by the names they got. */
const outputs = Object.fromEntries(Object.entries(result.metafile.outputs).map(([k, v]) => [relative('dist', k), v]));
const entry = Object.keys(outputs).find((k) => outputs[k].entryPoint === 'src/main.tsx');
const css = relative('dist', outputs[entry].cssBundle);
const first = new Set([entry, css]);
const follow = (name) => {
    for (const i of outputs[name].imports) {
        const chunk = relative('dist', i.path);
        if (i.kind === 'import-statement' && !first.has(chunk)) {
            first.add(chunk);
            follow(chunk);
        }
    }
};
follow(entry);
for (const file of result.outputFiles) {
    const name = relative(dist, file.path);
    put(name, Buffer.from(file.contents), first.has(name));
}
/* ---- The app: icons, manifest ---- */

const svg = (name) => join(web, 'src', name);
const icon = putHashed('icon', 'svg', readFileSync(svg('icon.svg')), true);
const touch = putHashed('touch', 'png', await png(svg('icon-maskable.svg'), 180));
const icons = [{ src: icon, sizes: 'any', type: 'image/svg+xml', purpose: 'any' }];
for (const [file, purpose] of [['icon.svg', 'any'], ['icon-maskable.svg', 'maskable']]) {
    for (const size of [192, 512]) {
        const src = putHashed(purpose === 'any' ? `icon${size}` : `mask${size}`, 'png', await png(svg(file), size));
        icons.push({ src, sizes: `${size}x${size}`, type: 'image/png', purpose });
    }
}
/* All addresses are relative to the manifest: it works below a path of a proxy. */
const manifest = {
    id: './',
    name: 'Confab',
    short_name: 'Confab',
    start_url: './',
    scope: './',
    display: 'standalone',
    background_color: '#f3f4f6',
    theme_color: '#3d5a99',
    icons,
};
put('manifest.webmanifest', Buffer.from(JSON.stringify(manifest)), false);

const names = { JS: entry, CSS: css, ICON: icon, TOUCH: touch };
const html = readFileSync(join(web, 'src/index.html'), 'utf8').replace(/%(\w+)%/g, (_, k) => names[k]);
put('index.html', Buffer.from(html), true);

/* ---- The service worker, which knows all of the above ---- */

const shell = sizes.map((s) => s.name).filter((n) => n !== 'index.html' && !/\.png$/.test(n));
const all = createHash('sha256').update(html);
shell.forEach((name) => all.update(name));
const worker = await build({
    ...options,
    entryPoints: [join(web, 'src/worker/sw.ts')],
    outdir: dist,
    format: 'iife',
    define: { SHELL: JSON.stringify(shell), BUILD: JSON.stringify(all.digest('hex').slice(0, 12)) },
});
put('sw.js', Buffer.from(worker.outputFiles[0].contents), false);

for (const s of sizes) {
    console.log(`${s.name}: ${s.plain} bytes, gzip ${s.gzip}, brotli ${s.brotli}${s.first ? '' : ', later'}`);
}
const sum = (form) => sizes.reduce((n, s) => n + (s.first ? s[form] : 0), 0);
console.log(`first load: gzip ${(sum('gzip') / 1024).toFixed(1)} KB, brotli ${(sum('brotli') / 1024).toFixed(1)} KB`);
if (sum('gzip') > FIRST_LOAD_MAX) {
    console.error(`the first load is above ${FIRST_LOAD_MAX / 1024} KB`);
    process.exit(1);
}
