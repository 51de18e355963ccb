/*
 * Emoji for the page, from emojibase-data at build time: `confab:emoji/<language>` is a module with
 * one text of lines: emoji, name, words to find it by, group, with tabs between them. Skin tones stay
 * out: they would be four fifths of it.
 */
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

const require = createRequire(import.meta.url);
const COMPONENTS = 2;

export function emojiLines(language) {
    const all = JSON.parse(readFileSync(require.resolve(`emojibase-data/${language}/compact.json`), 'utf8'));
    return all
        .filter((e) => e.group !== undefined && e.group !== COMPONENTS)
        .sort((a, b) => a.group - b.group || a.order - b.order)
        .map((e) => [e.unicode, e.label, (e.tags ?? []).join(' '), e.group].join('\t'))
        .join('\n');
}

export const emojiPlugin = {
    name: 'emoji',
    setup(build) {
        build.onResolve({ filter: /^confab:emoji\// }, (args) => ({ path: args.path, namespace: 'emoji' }));
        build.onLoad({ filter: /.*/, namespace: 'emoji' }, (args) => ({
            contents: `export default ${JSON.stringify(emojiLines(args.path.split('/')[1]))};`,
            loader: 'js',
        }));
    },
};
