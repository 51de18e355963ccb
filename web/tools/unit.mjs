/*
 * Bundles every *.test.ts and runs it with Node's own test runner. With --tap the output is TAP at
 * the top level, which tools/run-tests counts. Names after the options choose files by a part of
 * their path.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import { filesUnder } from './files.mjs';

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(web, 'node_modules', '.cache', 'confab-unit');
const wanted = process.argv.slice(2).filter((a) => !a.startsWith('--'));
const tests = filesUnder(web, ['src', 'packages'])
    .filter((f) => /\.test\.tsx?$/.test(f))
    .filter((f) => wanted.length === 0 || wanted.some((w) => f.includes(w)))
    .sort();
if (tests.length === 0) {
    console.error('no test file');
    process.exit(1);
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await build({
    stdin: {
        contents: tests.map((f) => `import ${JSON.stringify(f)};`).join('\n'),
        resolveDir: web,
        loader: 'ts',
    },
    outfile: join(out, 'unit.mjs'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node18',
    sourcemap: 'inline',
    external: ['fake-indexeddb', 'fake-indexeddb/*'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
});
const reporter = process.argv.includes('--tap') ? 'tap' : 'spec';
const args = ['--enable-source-maps', `--test-reporter=${reporter}`, join(out, 'unit.mjs')];
const done = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: web });
process.exit(done.status ?? 1);
