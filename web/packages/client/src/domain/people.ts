/*
 * Names of people, fetched when somebody asks for one that is not known, a few at a time.
 */
import type { User } from '../wire.js';
import { ApiError } from '../net/auth.js';

const AT_ONCE = 3;

export class People {
    private readonly known = new Map<string, User>();
    private readonly absent = new Set<string>();
    private readonly wanted: string[] = [];
    private readonly asked = new Set<string>();
    private running = 0;

    constructor(
        private readonly ask: (id: string) => Promise<User>,
        private readonly onFound: (user: User) => void,
    ) {}

    learn(user: User): void {
        this.known.set(user.userId, user);
    }

    /* Undefined at first; onFound follows, if there is such a person. */
    get(id: string): User | undefined {
        const user = this.known.get(id);
        if (!user && !this.absent.has(id) && !this.asked.has(id)) {
            this.asked.add(id);
            this.wanted.push(id);
            this.pump();
        }
        return user;
    }

    /* The connection is back: ask again for those that failed. */
    retry(): void {
        this.pump();
    }

    private pump(): void {
        while (this.running < AT_ONCE) {
            const id = this.wanted.shift();
            if (id === undefined) {
                return;
            }
            this.running++;
            void this.one(id);
        }
    }

    private async one(id: string): Promise<void> {
        let more = true;
        try {
            const user = await this.ask(id);
            this.known.set(id, user);
            this.onFound(user);
        } catch (e) {
            if (e instanceof ApiError && (e.status === 404 || e.status === 400)) {
                this.absent.add(id);
            } else {
                /* Not reached: retry() comes with the connection. */
                this.wanted.push(id);
                more = false;
            }
        }
        this.running--;
        if (more) {
            this.asked.delete(id);
            this.pump();
        }
    }
}
