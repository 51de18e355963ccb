/*
 * Makes the pictures of docs/users/screenshots anew: runs the browser tests that visit these screens
 * and takes what they have photographed. To be run by hand, when the screens have changed.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const web = dirname(dirname(fileURLToPath(import.meta.url)));
const to = join(web, '..', 'docs', 'users', 'screenshots');
const BYTES_MAX = 100 * 1024;
/* The name in the docs, and what a test calls it. */
const wanted = {
    'group.png': 'desktoplight-group',
    'group-dark-phone.png': 'phonedark-group',
    'list-phone.png': 'phonelight-list',
    'members.png': 'group-dialog',
    'settings.png': 'desktop-light-settings-notifications',
    'settings-arabic.png': 'settings-arabic',
    'invitation.png': 'admin-invite',
    'keys.png': 'help',
};

const shots = mkdtempSync(join(tmpdir(), 'confab-shots-'));
try {
    const env = {
        ...process.env,
        CONFAB_SHOTS: shots,
        CONFAB_E2E_ONLY: 'every screen on|settings on desktop-light|language and theme|roles change|QR code|help sheet',
    };
    const done = spawnSync(process.execPath, [join(web, 'tools', 'e2e.mjs'), 'looks', 'shell'], { stdio: 'inherit', env, cwd: web });
    if (done.status !== 0) {
        process.exit(done.status ?? 1);
    }
    mkdirSync(to, { recursive: true });
    for (const [name, shot] of Object.entries(wanted)) {
        const from = join(shots, `${shot}.png`);
        if (statSync(from).size > BYTES_MAX) {
            console.error(`${shot} has ${statSync(from).size} bytes, more than ${BYTES_MAX}`);
            process.exit(1);
        }
        copyFileSync(from, join(to, name));
    }
} finally {
    rmSync(shots, { recursive: true, force: true });
}
