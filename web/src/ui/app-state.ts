/*
 * What all of the page shares: the client, where the person is, which dialog is open. Domain topics
 * become signals here: a component that reads `seen(topic)` is painted again when it changes.
 */
import { Auth, Client, cookieKeeper, MemoryStores, type Conversation, type MessageItem, type RefreshKeeper, type StoreOpener, type Topic } from '@confab/client';
import { type Signal, signal } from '@preact/signals';
import { browserPlatform, deviceName } from '../platform/browser.js';
import { readLocal, writeLocal } from '../platform/local.js';
import { IndexedDbStores } from '../store/indexeddb.js';
import { forgetDrafts } from './drafts.js';
import { notify } from './notify.js';
import { announce } from './parts/announcer.js';
import { problemText, t } from './strings.js';

export type Route =
    | { at: 'home' }
    /* `seq`: the message to show. */
    | { at: 'conversation'; id: string; seq?: number }
    | { at: 'person'; userId: string }
    | { at: 'invite'; code: string; setup: boolean }
    | { at: 'settings' | 'admin'; section: string };

export type Dialog = 'new-chat' | 'new-group' | 'members' | 'add-members' | 'invite' | 'help' | 'sign-out';

/* Asked before something that cannot be taken back. */
export interface Question {
    title: string;
    text: string;
    /* What the button says that does it. */
    action: string;
    onYes: () => void;
}

const NAME_WAIT_MS = 2000;
const LAST_USER = 'confab-last-user';
const SESSION = 'confab-session';
const TABS = 'confab-tabs';

function parseRoute(hash: string): Route {
    const query = new URLSearchParams(hash.replace(/^#/, ''));
    const code = query.get('invite') ?? query.get('setup');
    if (code !== null) {
        return { at: 'invite', code, setup: query.has('setup') };
    }
    const [kind, id, seq] = hash.replace(/^#\/?/, '').split('/');
    if (kind === 'c' && id) {
        return { at: 'conversation', id, ...(/^[1-9]\d{0,14}$/.test(seq ?? '') ? { seq: Number(seq) } : {}) };
    }
    if (kind === 'settings' || kind === 'admin') {
        return { at: kind, section: id ?? '' };
    }
    return kind === 'u' && id ? { at: 'person', userId: id } : { at: 'home' };
}

/*
 * The refresh token is a cookie that no script sees. That there is one is remembered here, so that a
 * first visit asks for nothing that can only be refused.
 */
const sessionKeeper: RefreshKeeper = {
    kind: 'cookie',
    load() {
        try {
            return localStorage.getItem(SESSION) ?? localStorage.getItem(LAST_USER) ?? undefined;
        } catch {
            return cookieKeeper.load();
        }
    },
    save: (value) => writeLocal(SESSION, value),
};

function stores(): StoreOpener {
    return 'indexedDB' in window
        ? new IndexedDbStores({ get: () => readLocal(LAST_USER), set: (v) => writeLocal(LAST_USER, v) })
        : new MemoryStores();
}

export class AppState {
    readonly client: Client;
    readonly route: Signal<Route>;
    readonly dialog = signal<Dialog | undefined>(undefined);
    readonly question = signal<Question | undefined>(undefined);
    readonly toast = signal<string | undefined>(undefined);
    private readonly versions = new Map<Topic, Signal<number>>();
    private readonly tabs: BroadcastChannel | undefined;
    private toastTimer: ReturnType<typeof setTimeout> | undefined;

    constructor() {
        this.route = signal(parseRoute(location.hash));
        window.addEventListener('hashchange', () => (this.route.value = parseRoute(location.hash)));
        this.client = new Client({
            platform: browserPlatform,
            stores: stores(),
            auth: new Auth(browserPlatform.clock, browserPlatform.http, sessionKeeper, deviceName()),
            onIncoming: (conv, item) => void this.incoming(conv, item),
        });
        this.tabs = 'BroadcastChannel' in window ? new BroadcastChannel(TABS) : undefined;
        this.tabs?.addEventListener('message', (e: MessageEvent<unknown>) => {
            if (e.data === this.client.userId) {
                this.client.signedOutElsewhere();
            }
        });
        for (const event of ['online', 'focus']) {
            window.addEventListener(event, () => this.client.wake());
        }
        document.addEventListener('visibilitychange', () => {
            if (document.visibilityState === 'visible') {
                this.client.wake();
            }
        });
    }

    private async incoming(conv: Conversation, item: MessageItem): Promise<void> {
        const who = await this.named(item.from);
        const title = conv.kind === 'group' ? conv.name : who;
        const route = this.route.value;
        const looking =
            route.at === 'conversation' ? route.id === conv.id : route.at === 'person' && route.userId === conv.with;
        announce(conv.kind === 'group' ? t.announceIn(who, conv.name, item.content) : t.announce(who, item.content));
        await notify(who, conv, title, item, looking);
    }

    /* The name of somebody who may not be known yet: their first message comes before it. */
    private async named(userId: string): Promise<string> {
        const known = (): string | undefined => this.client.people.get(userId)?.displayName;
        if (known() === undefined) {
            await new Promise<void>((done) => {
                const off = this.client.on('people', () => known() !== undefined && done());
                setTimeout(() => {
                    off();
                    done();
                }, NAME_WAIT_MS);
            });
        }
        return known() ?? t.someone;
    }

    /* Read in a component: it is painted again when the topic changes. */
    seen(topic: Topic): number {
        let version = this.versions.get(topic);
        if (!version) {
            const made = signal(0);
            this.versions.set(topic, made);
            this.client.on(topic, () => made.value++);
            version = made;
        }
        return version.value;
    }

    go(hash: string): void {
        location.hash = hash;
    }

    async signOut(): Promise<void> {
        const user = this.client.userId;
        this.go('#/');
        await this.client.signOut();
        forgetDrafts();
        this.tabs?.postMessage(user);
    }

    tell(text: string): void {
        clearTimeout(this.toastTimer);
        this.toast.value = text;
        this.toastTimer = setTimeout(() => (this.toast.value = undefined), 6000);
    }

    /* Runs something that may fail, and says so. */
    async attempt(work: () => Promise<void>): Promise<boolean> {
        try {
            await work();
            return true;
        } catch (e) {
            this.tell(problemText(e));
            return false;
        }
    }

    nameOf(userId: string): string {
        this.seen('people');
        return this.client.people.get(userId)?.displayName ?? t.someone;
    }
}
