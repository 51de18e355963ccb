/*
 * The browser tests, one file after the other, each in a process of its own, with TAP at the top
 * level when --tap is given. CONFAB_BUILD names the folder with confabd, CONFAB_SHOTS one for
 * screenshots. Names after the options choose files.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { filesUnder } from './files.mjs';

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(web, 'node_modules', '.cache', 'confab-e2e');
const wanted = process.argv.slice(2).filter((a) => !a.startsWith('--'));
const tests = filesUnder(web, ['e2e'])
    .filter((f) => f.endsWith('.e2e.ts'))
    .filter((f) => wanted.length === 0 || wanted.some((w) => basename(f).includes(w)))
    .sort();
if (tests.length === 0) {
    console.error('no test file');
    process.exit(1);
}
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await build({
    entryPoints: tests,
    outdir: out,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node18',
    sourcemap: 'inline',
    packages: 'external',
});
const reporter = process.argv.includes('--tap') ? 'tap' : 'spec';
const filter = process.env.CONFAB_E2E_ONLY ? [`--test-name-pattern=${process.env.CONFAB_E2E_ONLY}`] : [];
/* A file that takes longer hangs; the others are still to be run. */
const FILE_MS = 400_000;
let failed = 0;
for (const test of tests) {
    const file = join(out, basename(test).replace(/\.ts$/, '.mjs'));
    const args = ['--enable-source-maps', `--test-reporter=${reporter}`, ...filter, file];
    const done = spawnSync(process.execPath, args, { stdio: 'inherit', cwd: web, timeout: FILE_MS });
    if (done.signal) {
        console.log(`not ok 1 - ${basename(test)}: ended by ${done.signal}, or still running after ${FILE_MS / 1000} s`);
    }
    failed += done.status === 0 ? 0 : 1;
}
process.exit(failed > 0 ? 1 : 0);
