/* Everybody's accounts: search, suspend, role, password, delete. */
import { AdminApi, type AdminUser } from '@confab/client';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { copyText } from '../message.js';
import { Avatar } from '../parts/avatar.js';
import { MoreIcon } from '../parts/icons.js';
import { MenuButton, type MenuItem } from '../parts/menu.js';
import { usePages } from '../parts/pages.js';
import { dateText, t } from '../strings.js';

const TYPING_MS = 250;

export function AdminPeople({ app }: { app: AppState }) {
    const api = new AdminApi(app.client.rest);
    const [query, setQuery] = useState('');
    const [wanted, setWanted] = useState('');
    useEffect(() => {
        const timer = setTimeout(() => setWanted(query.trim()), TYPING_MS);
        return () => clearTimeout(timer);
    }, [query]);
    const people = usePages((cursor) => api.users(wanted, cursor), wanted);
    return (
        <>
            <input type="search" class="picker-input" aria-label={t.searchPeople} placeholder={t.searchPeople} value={query}
                onInput={(e) => setQuery(e.currentTarget.value)} />
            {people.state}
            <ul class="cards">
                {people.list.map((u) => (
                    <PersonCard key={u.userId} app={app} api={api} user={u} onChange={people.again} />
                ))}
            </ul>
            {people.list.length === 0 && !people.state && <p class="list-note">{t.nobody}</p>}
            {people.more}
        </>
    );
}

function PersonCard({ app, api, user, onChange }: { app: AppState; api: AdminApi; user: AdminUser; onChange: () => void }) {
    const [password, setPassword] = useState<string>();
    const self = user.userId === app.client.userId;
    const act = async (work: () => Promise<void>) => {
        await app.attempt(work);
        onChange();
    };
    const name = user.displayName;
    const ask = (action: string, text: string, work: () => Promise<void>) =>
        (app.question.value = { title: `${action}: ${name}`, text, action, onYes: () => void act(work) });
    const suspend = () => ask(t.suspend, t.suspendQuestion(name), () => api.changeUser(user.userId, { status: 'suspended' }));
    const reset = () => ask(t.resetPassword, t.resetQuestion(name), async () => setPassword(await api.resetPassword(user.userId)));
    const remove = () => ask(t.deleteAccount, t.deleteQuestion(name), () => api.deleteUser(user.userId));
    const menu: MenuItem[] = [];
    if (!self && user.status !== 'deleted') {
        menu.push({ label: t.writeTo(user.displayName), onPick: () => app.go(`#/u/${user.userId}`) });
        menu.push(
            user.status === 'suspended'
                ? { label: t.unsuspend, onPick: () => void act(() => api.changeUser(user.userId, { status: 'active' })) }
                : { label: t.suspend, onPick: suspend },
            user.role === 'admin'
                ? { label: t.makeMember, onPick: () => void act(() => api.changeUser(user.userId, { role: 'member' })) }
                : { label: t.makeAdmin, onPick: () => void act(() => api.changeUser(user.userId, { role: 'admin' })) },
            { label: t.resetPassword, onPick: reset },
            { label: t.deleteAccount, danger: true, onPick: remove },
        );
    }
    return (
        <li class="card" data-test="account">
            <div class="card-head">
                <Avatar id={user.userId} name={name} />
                <div class="card-text">
                    <p class="person-name" dir="auto">{name}{self ? ` (${t.you})` : ''}</p>
                    <p class="person-user">
                        <span dir="ltr">@{user.username}</span> · {t.devicesCount(user.devices)}
                        {user.createdAt !== undefined && ` · ${t.since(dateText(user.createdAt))}`}
                    </p>
                </div>
                {user.role === 'admin' && <span class="tag">{t.adminRole}</span>}
                {user.status !== 'active' && (
                    <span class="tag tag-warn">{user.status === 'suspended' ? t.suspended : t.deletedAccount}</span>
                )}
                {menu.length > 0 && (
                    <MenuButton label={t.actionsFor(name)} items={menu}>
                        <MoreIcon />
                    </MenuButton>
                )}
            </div>
            {password !== undefined && (
                <div class="confirm">
                    <p role="status">{t.resetDone(name)}</p>
                    <div class="copy-row">
                        <input readOnly aria-label={t.passwordNew} value={password} dir="ltr" data-test="new-password"
                            onFocus={(e) => e.currentTarget.select()} />
                        <button type="button" class="plain" onClick={() => void copyText(app, password)}>{t.copy}</button>
                        <button type="button" class="plain" onClick={() => setPassword(undefined)}>{t.close}</button>
                    </div>
                </div>
            )}
        </li>
    );
}
