/*
 * What the parts of the client share: one user's conversations, as they are now, with the timelines
 * that are open. Whoever changes a conversation does it here, so that it is kept and told.
 */
import type { Store } from '../store/store.js';
import type { Member, SequencedEvent } from '../wire.js';
import type { Elsewhere } from './elsewhere.js';
import { type Conversation, type Item, itemOf, patchOf } from './model.js';
import type { Originals } from './originals.js';
import type { Outbox } from './outbox.js';
import type { Persister } from './persister.js';
import { type Ranges, rangeAt } from './ranges.js';
import type { Timeline } from './timeline.js';
import { Topics } from './topics.js';

/* One signed-in user's things, made anew with every sign-in. */
export interface Account {
    userId: string;
    store: Store;
    persister: Persister;
    outbox: Outbox;
    elsewhere: Elsewhere;
    since: string | undefined;
    release: () => void;
}

export class State {
    own: Account | undefined;
    readonly topics = new Topics();
    readonly convs = new Map<string, Conversation>();
    /* The direct conversation with a person. */
    readonly directs = new Map<string, string>();
    readonly timelines = new Map<string, { timeline: Timeline; users: number }>();
    readonly memberLists = new Map<string, Member[]>();
    /* What this process has heard to be hidden. */
    readonly hidden = new Map<string, Ranges>();
    readonly blocked = new Set<string>();

    /* `onUnsure`: how many are unread in it is a guess. */
    constructor(
        private readonly onUnsure: (conv: string) => void = () => undefined,
        readonly originals: Pick<Originals, 'patch' | 'forget'> | undefined = undefined,
    ) {}

    get userId(): string | undefined {
        return this.own?.userId;
    }

    clear(): void {
        this.own = undefined;
        for (const { timeline } of this.timelines.values()) {
            timeline.close();
        }
        for (const map of [this.convs, this.directs, this.timelines, this.memberLists, this.hidden]) {
            map.clear();
        }
        this.blocked.clear();
    }

    /*
     * Events were left out: among them may be edits and deletions of messages that are here. History
     * tells messages as they are now, so it is asked again for all that is looked at.
     */
    stale(conv: string): void {
        this.own?.persister.saveTimeline({ op: 'stale', conv });
        this.originals?.forget(conv);
        this.timelines.get(conv)?.timeline.stale();
    }

    /* Puts events where messages are kept and shown; they are complete from `from` to `to`. */
    place(c: Conversation, events: SequencedEvent[], from: number, to: number): void {
        const hidden = this.hidden.get(c.id) ?? [];
        const items = events
            .map(itemOf)
            .filter((i): i is Item => i !== undefined && !rangeAt(hidden, i.seq));
        const open = this.timelines.get(c.id)?.timeline;
        this.own?.persister.saveTimeline({ op: 'put', conv: c.id, items, from, to });
        open?.covered(items, from, to);
        for (const ev of events) {
            const patch = patchOf(ev);
            if (patch) {
                this.own?.persister.saveTimeline({ op: 'patch', conv: c.id, patch });
                this.originals?.patch(c.id, patch);
                open?.patch(patch);
            }
        }
        this.topics.touch(`timeline:${c.id}`);
    }

    *all(): Iterable<Conversation> {
        yield* this.convs.values();
    }

    put(c: Conversation, save = true): void {
        if (this.convs.get(c.id) === c) {
            return;
        }
        this.convs.set(c.id, c);
        if (c.kind === 'direct' && c.with !== undefined) {
            this.directs.set(c.with, c.id);
        }
        if (c.unsure && !c.left) {
            this.onUnsure(c.id);
        }
        if (save) {
            this.own?.persister.saveConversation(c);
            this.topics.touch('list');
        }
    }
}
