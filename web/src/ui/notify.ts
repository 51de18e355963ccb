/*
 * Telling the person of a message while the page is open: a notification, a sound, the number on the
 * page's title and the app's icon. Not for muted conversations, not while one does not want to be
 * disturbed, not for what one is looking at. Of several tabs one tells: the one that is seen, else
 * whichever is first.
 */
import type { Client, Conversation, MessageItem } from '@confab/client';
import { signal } from '@preact/signals';
import { workerRegistration } from './install.js';
import { disturbed, type NotifySettings, readNotify, writeNotify } from './notify-rules.js';
import { t } from './strings.js';

export const notifySettings = signal<NotifySettings>(readNotify());

export function changeNotify(change: Partial<NotifySettings>): void {
    notifySettings.value = { ...notifySettings.value, ...change };
    writeNotify(notifySettings.value);
}

export type Permission = 'granted' | 'denied' | 'default' | 'missing';

export function permission(): Permission {
    return 'Notification' in window && isSecureContext ? Notification.permission : 'missing';
}

/* Asks the person by way of the browser; has to come from a click. */
export async function allowNotifications(): Promise<Permission> {
    return permission() === 'default' ? Notification.requestPermission() : permission();
}

/* ---- Sound ---- */

let audio: AudioContext | undefined;

/* Two soft tones, made here: no file to load, nothing for the policy to allow. */
export function playTone(): void {
    try {
        audio ??= new AudioContext();
        void audio.resume();
        const at = audio.currentTime;
        for (const [i, hz] of [660, 880].entries()) {
            const tone = audio.createOscillator();
            const volume = audio.createGain();
            tone.frequency.value = hz;
            volume.gain.setValueAtTime(0, at + i * 0.12);
            volume.gain.linearRampToValueAtTime(0.12, at + i * 0.12 + 0.02);
            volume.gain.exponentialRampToValueAtTime(0.001, at + i * 0.12 + 0.25);
            tone.connect(volume).connect(audio.destination);
            tone.start(at + i * 0.12);
            tone.stop(at + i * 0.12 + 0.26);
        }
    } catch {
        /* No sound device, or the browser wants a click first: it is quiet, then. */
    }
}

/* ---- Notifications ---- */

const CLAIM_MS = 3000;
const OTHERS_FIRST_MS = 150;

/* True in one tab only. A tab that is seen asks at once, others a moment later. */
async function claim(id: string): Promise<boolean> {
    if (!('locks' in navigator)) {
        return true;
    }
    if (document.visibilityState !== 'visible') {
        await new Promise((done) => setTimeout(done, OTHERS_FIRST_MS));
    }
    return new Promise((done) => {
        void navigator.locks.request(`confab-notify-${id}`, { ifAvailable: true }, async (lock) => {
            done(lock !== null);
            if (lock) {
                await new Promise((end) => setTimeout(end, CLAIM_MS));
            }
        });
    });
}

async function show(title: string, text: string, hash: string): Promise<void> {
    const options = { body: text, tag: hash, data: { hash }, dir: 'auto' as const };
    const worker = await workerRegistration();
    if (worker?.active) {
        await worker.showNotification(title, options);
        return;
    }
    const n = new Notification(title, options);
    n.onclick = () => {
        window.focus();
        location.hash = hash;
        n.close();
    };
}

/* A message of somebody else has come. `looking`: its conversation is open here. */
export async function notify(who: string, c: Conversation, title: string, item: MessageItem, looking: boolean): Promise<void> {
    const s = notifySettings.value;
    const seen = looking && document.visibilityState === 'visible' && document.hasFocus();
    if (c.muted || disturbed(s, new Date()) || !(await claim(item.id)) || seen) {
        return;
    }
    if (s.sound) {
        playTone();
    }
    if (s.on && permission() === 'granted') {
        const text = s.preview ? (c.kind === 'group' ? `${who}: ${item.content}` : item.content) : t.notifyHidden;
        await show(title, text.slice(0, 300), `#/c/${c.id}`).catch(() => undefined);
    }
}

export async function tryNotification(): Promise<void> {
    playTone();
    if (permission() === 'granted') {
        await show(t.appName, t.notifyTestText, '#/settings/notifications').catch(() => undefined);
    }
}

/* ---- The number ---- */

let shown = -1;

/* How many are unread and not muted: in the title and on the app's icon. */
export function showUnread(client: Client): void {
    const total = client.conversations().reduce((n, c) => n + (c.muted ? 0 : c.unread), 0);
    const title = total > 0 ? `(${total}) ${t.appName}` : t.appName;
    if (document.title !== title) {
        document.title = title;
    }
    if (shown !== total) {
        shown = total;
        const set = total > 0 ? navigator.setAppBadge?.(total) : navigator.clearAppBadge?.();
        set?.catch(() => undefined);
    }
}
