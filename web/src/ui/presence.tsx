/*
 * Who is there and who types, for lists and heads: signals of the domain as texts and dots, and what
 * the person does as what the server is told.
 */
import type { Conversation, Presence } from '@confab/client';
import { effect, signal } from '@preact/signals';
import type { AppState } from './app-state.js';
import { agoText, t } from './strings.js';

/* Undefined: not told. Read while painting: it is painted again when it changes. */
export function presenceOf(app: AppState, userId: string | undefined): Presence | undefined {
    app.seen('presence');
    return userId === undefined ? undefined : app.client.presence.get(userId);
}

/* The user ids of those who type there. As presenceOf. */
export function typingIn(app: AppState, conv: string | undefined): string[] {
    app.seen('typing');
    return conv === undefined ? [] : app.client.typing.in(conv);
}

/* "Online", "Last seen 5 minutes ago"; undefined when nothing is told. */
export function presenceText(app: AppState, userId: string | undefined): string | undefined {
    const p = presenceOf(app, userId);
    if (!p) {
        return undefined;
    }
    if (p.status === 'offline') {
        return p.lastSeen === undefined ? undefined : t.lastSeen(agoText(p.lastSeen, Date.now()));
    }
    return t.presence[p.status];
}

/* "typing…", in a group with names; undefined when nobody does. */
export function typingText(app: AppState, c: Conversation | undefined): string | undefined {
    const who = typingIn(app, c?.id);
    if (!c || who.length === 0) {
        return undefined;
    }
    return c.kind === 'direct' ? t.typing : t.typingNames(who.map((id) => app.nameOf(id)));
}

/* A dot on a picture. What it says is said in words elsewhere: it is hidden from screen readers. */
export function PresenceDot({ app, userId }: { app: AppState; userId: string | undefined }) {
    const status = presenceOf(app, userId)?.status;
    return status === 'online' || status === 'away' ? (
        <span class={`dot dot-${status}`} data-test="dot" data-status={status} aria-hidden="true" />
    ) : null;
}

/* ---- What is on the screen ---- */

/* The rows of the list that can be seen. */
const rowsSeen = signal<readonly { id: string; with: string | undefined }[]>([]);
/* Others that are shown somewhere, by whoever shows them: a group's members. */
const peopleShown = signal<readonly string[]>([]);

export function rowsAreSeen(rows: readonly { id: string; with: string | undefined }[]): void {
    rowsSeen.value = rows;
}

export function peopleAreShown(userIds: readonly string[]): void {
    peopleShown.value = userIds;
}

/* From now on the server knows what is looked at, and that somebody is there. */
export function startPresence(app: AppState): void {
    const { presence } = app.client;
    effect(() => {
        const route = app.route.value;
        app.seen('list');
        const open = route.at === 'conversation' ? app.client.conversation(route.id) : undefined;
        const person = route.at === 'person' ? route.userId : open?.with;
        const direct = route.at === 'person' ? app.client.directWith(route.userId)?.id : open?.id;
        const rows = rowsSeen.value;
        const people = [person, ...peopleShown.value, ...rows.map((r) => r.with)];
        presence.view([...(direct === undefined ? [] : [direct]), ...rows.map((r) => r.id)]);
        presence.watch(people.filter((u): u is string => u !== undefined && u !== app.client.userId));
    });
    for (const event of ['pointerdown', 'keydown', 'wheel', 'touchstart', 'pointermove']) {
        window.addEventListener(event, () => presence.active(), { passive: true, capture: true });
    }
    const look = (): void => presence.visible(document.visibilityState === 'visible');
    document.addEventListener('visibilitychange', look);
    look();
}
