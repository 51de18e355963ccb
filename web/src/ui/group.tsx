/* A group: its name, who is in it and as what, its settings, adding people, leaving. */
import type { Conversation, GroupSettings, Member, Role, User } from '@confab/client';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { Avatar } from './parts/avatar.js';
import { Field } from './parts/field.js';
import { MoreIcon } from './parts/icons.js';
import { useLoaded } from './parts/loaded.js';
import { MenuButton, type MenuItem } from './parts/menu.js';
import { Modal } from './parts/modal.js';
import { Choice } from './parts/sections.js';
import { PeoplePicker, toggle } from './people.js';
import { peopleAreShown, PresenceDot, presenceText } from './presence.js';
import { t } from './strings.js';

interface Props {
    app: AppState;
    onClose: () => void;
}

/* Only as many as can be looked at are watched. */
const WATCHED_MAX = 50;

function openGroup(app: AppState): Conversation | undefined {
    app.seen('list');
    const route = app.route.value;
    return route.at === 'conversation' ? app.client.conversation(route.id) : undefined;
}

const rank: Record<Role, number> = { owner: 0, admin: 1, moderator: 2, member: 3, guest: 4 };
const ROLES: Role[] = ['owner', 'admin', 'moderator', 'member', 'guest'];

export function Group({ app, onClose }: Props) {
    const c = openGroup(app);
    const me = app.client.userId;
    app.seen(c ? `timeline:${c.id}` : 'list');
    app.seen('people');
    const list = (c && app.client.members(c.id)) ?? [];
    const watched = list.slice(0, WATCHED_MAX).map((m) => m.userId).join(' ');
    useEffect(() => {
        peopleAreShown(watched === '' ? [] : watched.split(' '));
        return () => peopleAreShown([]);
    }, [watched]);
    if (!c) {
        return null;
    }
    const manages = rank[c.role] <= rank.admin;
    const members = [...list].sort(
        (a, b) => rank[a.role] - rank[b.role] || app.nameOf(a.userId).localeCompare(app.nameOf(b.userId)),
    );
    const leave = () =>
        void app.attempt(async () => {
            await app.client.rest.removeMember(c.id, me ?? '');
            onClose();
            app.go('#/');
        });
    const askLeave = () =>
        (app.question.value = { title: t.leaveGroup, text: t.leaveQuestion, action: t.leaveGroup, onYes: leave });
    const askRemove = (m: Member) => {
        const name = app.nameOf(m.userId);
        const remove = () => void app.attempt(() => app.client.rest.removeMember(c.id, m.userId));
        app.question.value = { title: t.removePerson(name), text: t.removeQuestion(name), action: t.remove, onYes: remove };
    };
    return (
        <Modal title={t.membersCount(c.memberCount)} onClose={onClose}>
            {manages && <NameForm app={app} c={c} />}
            <ul class="people people-list">
                {members.map((m) => (
                    <MemberRow key={m.userId} app={app} c={c} m={m} onRemove={() => askRemove(m)} onClose={onClose} />
                ))}
            </ul>
            {manages && <Rules app={app} c={c} />}
            <footer class="modal-foot">
                <button type="button" class="plain danger" onClick={askLeave}>{t.leaveGroup}</button>
                <button type="button" class="primary" onClick={() => (app.dialog.value = 'add-members')}>{t.addMembers}</button>
            </footer>
        </Modal>
    );
}

function MemberRow({ app, c, m, onRemove, onClose }: { app: AppState; c: Conversation; m: Member; onRemove: () => void; onClose: () => void }) {
    const { client } = app;
    const self = m.userId === client.userId;
    const name = app.nameOf(m.userId);
    const there = self ? undefined : presenceText(app, m.userId);
    /* Owners may do everything; others remove those below them; only owners give roles. */
    const above = c.role === 'owner' || (rank[c.role] <= rank.moderator && rank[m.role] > rank[c.role]);
    const menu: MenuItem[] = [];
    if (!self) {
        menu.push({
            label: t.writeTo(name),
            onPick: () => {
                onClose();
                app.go(`#/u/${m.userId}`);
            },
        });
    }
    if (c.role === 'owner' && !self) {
        for (const role of ROLES.filter((r) => r !== m.role)) {
            menu.push({ label: t.makeRole[role], onPick: () => void app.attempt(() => client.rest.setRole(c.id, m.userId, role)) });
        }
    }
    if (above && !self) {
        menu.push({ label: t.remove, danger: true, onPick: onRemove });
    }
    return (
        <li class="person person-row" data-test="member">
            <span class="row-picture">
                <Avatar id={m.userId} name={name} />
                <PresenceDot app={app} userId={m.userId} />
            </span>
            <span class="person-text">
                <span class="person-name" dir="auto">
                    {name}
                    {self ? ` (${t.you})` : ''}
                </span>
                <span class="person-user">
                    <span dir="ltr">@{client.people.get(m.userId)?.username ?? ''}</span>
                    {there !== undefined && ` · ${there}`}
                </span>
            </span>
            {t.role[m.role] !== '' && <span class="tag">{t.role[m.role]}</span>}
            {menu.length > 0 && (
                <MenuButton label={t.actionsFor(name)} items={menu}>
                    <MoreIcon />
                </MenuButton>
            )}
        </li>
    );
}

function NameForm({ app, c }: { app: AppState; c: Conversation }) {
    const [typed, setTyped] = useState({ over: c.name, text: c.name });
    const name = typed.over === c.name ? typed.text : c.name; // another's change ends one's own
    return (
        <form class="inline-form"
            onSubmit={(e) => {
                e.preventDefault();
                void app.attempt(() => app.client.rest.renameGroup(c.id, name.trim()));
            }}
        >
            <Field label={t.groupName} value={name} onValue={(text) => setTyped({ over: c.name, text })} maxLength={100} />
            <button type="submit" class="plain" disabled={name.trim() === '' || name.trim() === c.name}>{t.rename}</button>
        </form>
    );
}

function Rules({ app, c }: { app: AppState; c: Conversation }) {
    const rules = useLoaded(() => app.client.rest.groupSettings(c.id), c.id);
    const set = async (change: Partial<GroupSettings>) => {
        if (rules.value) {
            const next = { ...rules.value, ...change };
            await app.attempt(() => app.client.rest.changeGroup(c.id, next));
            rules.again();
        }
    };
    const options: ['members' | 'admins', string][] = [
        ['members', t.groupEverybody],
        ['admins', t.groupAdmins],
    ];
    return (
        <details class="block">
            <summary class="block-title">{t.groupSettings}</summary>
            {rules.state}
            {rules.value && (
                <>
                    <Choice label={t.groupSend} value={rules.value.send} options={options} onChange={(send) => void set({ send })} />
                    <Choice label={t.groupInvite} value={rules.value.invite} options={options} onChange={(invite) => void set({ invite })} />
                </>
            )}
        </details>
    );
}

export function AddMembers({ app, onClose }: Props) {
    const c = openGroup(app);
    const [chosen, setChosen] = useState<User[]>([]);
    const [busy, setBusy] = useState(false);
    if (!c) {
        return null;
    }
    const add = async () => {
        setBusy(true);
        const ok = await app.attempt(() => app.client.rest.addMembers(c.id, chosen.map((u) => u.userId)));
        setBusy(false);
        if (ok) {
            onClose();
        }
    };
    return (
        <Modal title={t.addMembers} onClose={onClose}>
            <PeoplePicker app={app} chosen={chosen} onPick={(u) => setChosen(toggle(chosen, u))}
                without={app.client.members(c.id)?.map((m) => m.userId) ?? []} />
            <footer class="modal-foot">
                <button type="button" class="plain" onClick={onClose}>{t.cancel}</button>
                <button type="button" class="primary" disabled={busy || chosen.length === 0} onClick={() => void add()}>
                    {t.add}
                </button>
            </footer>
        </Modal>
    );
}
