/*
 * How fast the page is, in Debian's Chromium against a real confabd with a thousand conversations
 * and a hundred thousand messages in one of them. Prints a table; docs/performance-web.md has one.
 *
 *     node tools/measure.mjs [--conversations 1000] [--messages 100000] [--rounds 60] [--scroll 100000]
 *
 * CONFAB_BUILD names the folder with confabd (../build/release unless set).
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(web, 'node_modules', '.cache', 'confab-measure');
mkdirSync(out, { recursive: true });
await build({
    entryPoints: [join(web, 'e2e/measure.ts')],
    outfile: join(out, 'measure.mjs'),
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node18',
    sourcemap: 'inline',
    packages: 'external',
});
const env = { CONFAB_BUILD: join(web, '../build/release'), ...process.env };
const done = spawnSync(process.execPath, ['--enable-source-maps', join(out, 'measure.mjs'), ...process.argv.slice(2)], {
    stdio: 'inherit',
    cwd: web,
    env,
});
process.exit(done.status ?? 1);
