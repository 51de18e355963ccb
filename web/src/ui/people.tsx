/* Finding people: the search that asks the server while one types, and the picker of the dialogs. */
import type { User } from '@confab/client';
import { ApiError } from '@confab/client';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { Avatar } from './parts/avatar.js';
import { CheckIcon, CloseIcon } from './parts/icons.js';
import { problemText, t } from './strings.js';

export type Found = { state: 'idle' | 'searching' | 'done' | 'failed'; users: User[]; problem?: string };

/* Servers without a search know exact names only. */
async function findPeople(app: AppState, query: string): Promise<User[]> {
    try {
        return await app.client.rest.searchUsers(query);
    } catch (e) {
        if (!(e instanceof ApiError) || (e.status !== 404 && e.status !== 405)) {
            throw e;
        }
    }
    try {
        return [await app.client.rest.user(query)];
    } catch (e) {
        if (e instanceof ApiError && e.status === 404) {
            return [];
        }
        throw e;
    }
}

/* Empty: asks nobody. */
export function usePeople(app: AppState, query: string): Found {
    const [found, setFound] = useState<Found>({ state: 'idle', users: [] });
    useEffect(() => {
        const wanted = query.trim();
        if (wanted === '') {
            setFound({ state: 'idle', users: [] });
            return undefined;
        }
        let current = true;
        setFound((f) => ({ state: 'searching', users: f.users }));
        const timer = setTimeout(() => {
            findPeople(app, wanted).then(
                (users) => {
                    if (current) {
                        users.forEach((u) => app.client.people.learn(u));
                        setFound({ state: 'done', users: users.filter((u) => u.userId !== app.client.userId) });
                    }
                },
                (e: unknown) => {
                    if (current) {
                        setFound({ state: 'failed', users: [], problem: problemText(e) });
                    }
                },
            );
        }, 200);
        return () => {
            current = false;
            clearTimeout(timer);
        };
    }, [query]);
    return found;
}

export function PeoplePicker({
    app,
    chosen,
    onPick,
    without = [],
}: {
    app: AppState;
    /* Undefined: the first pick is the answer. */
    chosen?: User[];
    onPick: (user: User) => void;
    without?: string[];
}) {
    const [query, setQuery] = useState('');
    const found = usePeople(app, query);
    const users = found.users.filter((u) => !without.includes(u.userId));
    const isChosen = (u: User) => chosen?.some((o) => o.userId === u.userId) ?? false;
    return (
        <div class="picker">
            {chosen && chosen.length > 0 && (
                <ul class="chips" aria-label={t.chosen(chosen.length)}>
                    {chosen.map((u) => (
                        <li key={u.userId}>
                            <button type="button" class="chip" aria-label={t.removePerson(u.displayName)} onClick={() => onPick(u)}>
                                {u.displayName}
                                <CloseIcon size={14} />
                            </button>
                        </li>
                    ))}
                </ul>
            )}
            <input type="search" class="picker-input" aria-label={t.findPeople} placeholder={t.findPeople}
                autocomplete="off" autocapitalize="none" spellcheck={false} autofocus={!chosen} value={query}
                onInput={(e) => setQuery(e.currentTarget.value)} />
            <ul class="people" aria-label={t.members}>
                {users.map((u) => (
                    <li key={u.userId}>
                        <button type="button" class="person" data-test="person"
                            {...(chosen ? { 'aria-pressed': isChosen(u) } : {})} onClick={() => onPick(u)}>
                            <Avatar id={u.userId} name={u.displayName} />
                            <span class="person-text">
                                <span class="person-name" dir="auto">{u.displayName}</span>
                                <span class="person-user">@{u.username}</span>
                            </span>
                            {isChosen(u) && <CheckIcon />}
                        </button>
                    </li>
                ))}
            </ul>
            <p class="picker-note" role="status">
                {found.state === 'searching' && users.length === 0
                    ? t.searching
                    : found.state === 'failed'
                      ? found.problem
                      : found.state === 'done' && users.length === 0
                        ? t.nobody
                        : ''}
            </p>
        </div>
    );
}

export function toggle(list: User[], user: User): User[] {
    const without = list.filter((u) => u.userId !== user.userId);
    return without.length < list.length ? without : [...list, user];
}
