/* A client on a FakeServer with a clock of its own: what most tests of the domain begin with. */
import { Auth, memoryKeeper } from '../net/auth.js';
import { Client } from '../domain/client.js';
import type { Conversation, MessageItem } from '../domain/model.js';
import { type Channels, type Clock, type Locks, noChannels, noLocks, type SocketOpener } from '../platform/platform.js';
import { MemoryStores } from '../store/memory.js';
import type { StoreOpener } from '../store/store.js';
import { FakeClock, settle } from './clock.js';
import { FakeHttp } from './net.js';
import { SeededRandom } from './random.js';
import { FakeServer } from './server.js';

export class World {
    readonly random: SeededRandom;
    readonly clock = new FakeClock();
    readonly server: FakeServer;

    constructor(seed: number) {
        this.random = new SeededRandom(seed);
        this.server = new FakeServer(this.random);
    }

    device(user: string, stores: StoreOpener = new MemoryStores(), tab?: Tab): Device {
        return new Device(this, user, stores, tab);
    }

    /* Until nobody has anything to say any more but heartbeats. */
    async rest(done: () => boolean = () => true): Promise<void> {
        let quiet = 0;
        for (let rounds = 0; quiet < 2 || !done(); rounds++) {
            if (rounds > 500) {
                throw new Error('it never comes to rest');
            }
            let moved = false;
            for (let i = 0; i < 1000 && this.server.step(); i++) {
                moved = true;
                await settle();
            }
            await this.clock.pass(moved ? 300 : 6000);
            quiet = moved ? 0 : quiet + 1;
        }
    }
}

/* A tab of a browser, as FakeTabs has it. */
export interface Tab {
    clock: Clock;
    locks: Locks;
    channels: Channels;
}

export class Device {
    readonly client: Client;
    readonly incoming: [Conversation, MessageItem][] = [];
    readonly http = new FakeHttp();
    /* Its own way to the server. */
    readonly sockets: SocketOpener & { down: boolean };

    constructor(
        readonly world: World,
        readonly user: string,
        readonly stores: StoreOpener,
        { clock, locks, channels }: Tab = { clock: world.clock, locks: noLocks, channels: noChannels },
    ) {
        const { http } = this;
        http.handler = (request) => world.server.http(user, request);
        const { random } = world;
        const open = world.server.sockets(user);
        const nowhere = { send: () => undefined, close: () => undefined };
        this.sockets = {
            down: false,
            open: (path, events) => {
                if (!this.sockets.down) {
                    return open.open(path, events);
                }
                queueMicrotask(() => events.onClose(1006));
                return nowhere;
            },
        };
        this.client = new Client({
            platform: { clock, random, http, sockets: this.sockets, locks, channels },
            stores,
            auth: new Auth(clock, http, memoryKeeper(), 'test'),
            onIncoming: (c, item) => this.incoming.push([c, item]),
        });
    }

    async signIn(): Promise<void> {
        await this.client.signIn({ username: this.user, password: 'password' });
    }

    /* All that a conversation has as the person can see it, scrolled to the beginning: texts of
     * messages, and what the lines between them tell. */
    async read(conv: string): Promise<[number, string][]> {
        const { timeline, release } = this.client.openTimeline(conv);
        await timeline.open('end');
        for (let i = 0; i < 200 && !timeline.atStart; i++) {
            await timeline.older();
        }
        const seen = timeline.items.flatMap((i): [number, string][] =>
            [[i.seq, i.kind === 'note' ? `(${i.note.what})` : i.deleted ? '' : i.content]],
        );
        release();
        return seen;
    }
}
