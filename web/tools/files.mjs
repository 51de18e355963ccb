/* All files below some folders, without node_modules. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

export function filesUnder(root, folders) {
    const found = [];
    const walk = (folder) => {
        for (const entry of readdirSync(folder, { withFileTypes: true })) {
            const path = join(folder, entry.name);
            if (entry.isDirectory()) {
                if (entry.name !== 'node_modules' && entry.name !== 'dist') {
                    walk(path);
                }
            } else {
                found.push(path);
            }
        }
    };
    for (const folder of folders) {
        walk(join(root, folder));
    }
    return found;
}
