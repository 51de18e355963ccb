/*
 * Who wants to know of changes. Changes are collected and told once at the end of the task, so that
 * a page of a thousand conversations makes one repaint.
 */
export type Topic = 'link' | 'list' | 'people' | 'outbox' | 'account' | 'presence' | 'typing' | `timeline:${string}`;

export class Topics {
    private readonly listeners = new Map<Topic, Set<() => void>>();
    private changed = new Set<Topic>();
    private scheduled = false;

    on(topic: Topic, fn: () => void): () => void {
        const set = this.listeners.get(topic) ?? new Set();
        this.listeners.set(topic, set);
        set.add(fn);
        return () => {
            set.delete(fn);
            if (set.size === 0 && this.listeners.get(topic) === set) {
                this.listeners.delete(topic);
            }
        };
    }

    touch(topic: Topic): void {
        this.changed.add(topic);
        if (!this.scheduled) {
            this.scheduled = true;
            queueMicrotask(() => this.tell());
        }
    }

    private tell(): void {
        this.scheduled = false;
        const changed = this.changed;
        this.changed = new Set();
        for (const topic of changed) {
            for (const fn of [...(this.listeners.get(topic) ?? [])]) {
                fn();
            }
        }
    }
}
