/*
 * Builds the page into dist/: scripts, one style sheet and the icon, named by their content, and
 * index.html, which names them and holds nothing else that runs. Prints what a first load costs: all
 * but what a script loads later, such as the languages.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const web = dirname(fileURLToPath(import.meta.url));
const dist = join(web, 'dist');
const FIRST_LOAD_MAX = 150 * 1024;

const result = await build({
    entryPoints: { app: join(web, 'src/main.tsx') },
    absWorkingDir: web,
    outdir: dist,
    entryNames: 'assets/[name]-[hash]',
    chunkNames: 'assets/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    target: ['es2022', 'chrome109', 'firefox115', 'safari16.4'],
    minify: true,
    legalComments: 'none',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    define: { 'process.env.NODE_ENV': '"production"' },
    charset: 'utf8',
    metafile: true,
    write: false,
});

rmSync(dist, { recursive: true, force: true });
mkdirSync(join(dist, 'assets'), { recursive: true });

const sizes = [];
function put(name, data, first) {
    writeFileSync(join(dist, name), data);
    const gzip = gzipSync(data, { level: 9 }).length;
    sizes.push({ name, plain: data.length, gzip, brotli: brotliCompressSync(data).length, first });
}

function putHashed(stem, extension, data) {
    const hash = createHash('sha256').update(data).digest('hex').slice(0, 12);
    const name = `assets/${stem}-${hash}.${extension}`;
    put(name, data, true);
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
const names = { JS: entry, CSS: css, ICON: putHashed('icon', 'svg', readFileSync(join(web, 'src/icon.svg'))) };
const html = readFileSync(join(web, 'src/index.html'), 'utf8').replace(/%(\w+)%/g, (_, k) => names[k]);
put('index.html', Buffer.from(html), true);

for (const s of sizes) {
    console.log(`${s.name}: ${s.plain} bytes, gzip ${s.gzip}, brotli ${s.brotli}${s.first ? '' : ', later'}`);
}
const sum = (form) => sizes.reduce((n, s) => n + (s.first ? s[form] : 0), 0);
console.log(`first load: gzip ${(sum('gzip') / 1024).toFixed(1)} KB, brotli ${(sum('brotli') / 1024).toFixed(1)} KB`);
if (sum('gzip') > FIRST_LOAD_MAX) {
    console.error(`the first load is above ${FIRST_LOAD_MAX / 1024} KB`);
    process.exit(1);
}
