/*
 * Holds the folders to what they may import: domain knows no browser, the protocol package no page.
 * A layer may import itself and those named beside it.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { filesUnder } from './files.mjs';

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const client = 'packages/client/src';
const layers = {
    [`${client}/platform`]: ['node:crypto'],
    [`${client}/net`]: [`${client}/platform`],
    /* The store keeps the domain's states, and knows their shape; the domain knows its interface. */
    [`${client}/store`]: [`${client}/domain`],
    [`${client}/domain`]: [`${client}/platform`, `${client}/net`, `${client}/store`],
    [`${client}/mocks`]: [`${client}/platform`, `${client}/net`, `${client}/store`, `${client}/domain`],
    'src/platform': ['@confab/client'],
    'src/store': ['@confab/client', 'idb'],
    'src/i18n': [],
    'src/ui': ['@confab/client', 'src/platform', 'src/store', 'src/i18n', 'preact', 'preact/hooks', '@preact/signals', 'uqr'],
};
/* Only platform code may ask the world for these. */
const worldly = /\b(Date\.now|setTimeout|setInterval|Math\.random|fetch|new WebSocket|indexedDB)\b\(?/;

let problems = 0;
function complain(file, what) {
    console.error(`${relative(web, file)}: ${what}`);
    problems++;
}

for (const file of filesUnder(web, ['src', 'packages'])) {
    if (!/\.tsx?$/.test(file) || /\.test\.tsx?$/.test(file)) {
        continue;
    }
    const name = relative(web, file);
    const layer = Object.keys(layers).find((l) => name.startsWith(`${l}/`));
    if (!layer) {
        continue; /* wire.ts, index.ts, main.tsx: the ends of the graph */
    }
    const text = readFileSync(file, 'utf8');
    for (const [, from] of text.matchAll(/(?:from|import) '([^']+)'/g)) {
        const target = from.startsWith('.') ? relative(web, resolve(dirname(file), from)) : from;
        const inside = target.startsWith(`${layer}/`) || target === `${client}/wire.js` || target === `${client}/api.gen.js`;
        const allowed = layers[layer].some((l) => target === l || (from.startsWith('.') && target.startsWith(`${l}/`)));
        if (!inside && !allowed) {
            complain(file, `may not import ${from}`);
        }
    }
    if (layer.startsWith(client) && layer !== `${client}/platform` && worldly.test(text.replace(/\/\*[\s\S]*?\*\//g, ''))) {
        complain(file, 'asks the world itself: that is for platform');
    }
}
console.log(problems === 0 ? 'layers: in order' : `layers: ${problems} problems`);
process.exit(problems === 0 ? 0 : 1);
