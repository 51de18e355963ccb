/* The menus of the list: of the page, and of a row. */
import type { Conversation } from '@confab/client';
import type { AppState } from './app-state.js';
import type { MenuItem } from './parts/menu.js';
import { t } from './strings.js';

export const MUTED_FOR_EVER = Date.UTC(9999, 0, 1);

export function mainMenu(app: AppState): MenuItem[] {
    const admin = app.client.me?.role === 'admin';
    return [
        { label: t.newGroup, onPick: () => (app.dialog.value = 'new-group') },
        ...(admin ? [{ label: t.invitePeople, onPick: () => void (app.dialog.value = 'invite') }] : []),
        { label: t.settings, onPick: () => app.go('#/settings') },
        ...(admin ? [{ label: t.administration, onPick: () => app.go('#/admin') }] : []),
        { label: t.help, onPick: () => (app.dialog.value = 'help') },
        { label: t.signOut, onPick: () => (app.dialog.value = 'sign-out') },
    ];
}

/* What can be done with a conversation without opening it. */
export function rowMenu(app: AppState, c: Conversation): MenuItem[] {
    const { client } = app;
    return [
        ...(c.unread > 0 ? [{ label: t.markRead, onPick: () => client.markRead(c.id, c.head) }] : []),
        {
            label: c.muted ? t.unmute : t.mute,
            onPick: () => void app.attempt(() => client.rest.mute(c.id, c.muted ? null : MUTED_FOR_EVER)),
        },
        {
            label: c.pinned ? t.unpin : t.pin,
            onPick: () => void app.attempt(() => client.rest.pin(c.id, !c.pinned)),
        },
    ];
}
