/* The dialogs: find a person, make a group, see and add members, invite, sign out. */
import type { InviteLink, User } from '@confab/client';
import { useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { copyText } from './message.js';
import { AddMembers, Group } from './group.js';
import { Help } from './help.js';
import { Field } from './parts/field.js';
import { Modal } from './parts/modal.js';
import { PeoplePicker, toggle } from './people.js';
import { t } from './strings.js';

export function Dialogs({ app }: { app: AppState }) {
    return (
        <>
            <Chosen app={app} />
            <Asked app={app} />
        </>
    );
}

function Chosen({ app }: { app: AppState }) {
    const close = () => (app.dialog.value = undefined);
    switch (app.dialog.value) {
        case 'new-chat':
            return <NewChat app={app} onClose={close} />;
        case 'new-group':
            return <NewGroup app={app} onClose={close} />;
        case 'members':
            return <Group app={app} onClose={close} />;
        case 'add-members':
            return <AddMembers app={app} onClose={close} />;
        case 'invite':
            return <Invite app={app} onClose={close} />;
        case 'help':
            return <Help onClose={close} />;
        case 'sign-out':
            return <SignOut app={app} onClose={close} />;
        default:
            return undefined;
    }
}

/* Over whatever asked, to which the focus goes back. Enter alone does nothing: "Cancel" has it. */
function Asked({ app }: { app: AppState }) {
    const asked = app.question.value;
    if (!asked) {
        return undefined;
    }
    const close = () => (app.question.value = undefined);
    return (
        <Modal title={asked.title} question={asked.text} onClose={close}>
            <footer class="modal-foot">
                <button type="button" class="plain" autofocus onClick={close}>{t.cancel}</button>
                <button type="button" class="primary danger"
                    onClick={() => {
                        close();
                        asked.onYes();
                    }}>
                    {asked.action}
                </button>
            </footer>
        </Modal>
    );
}

interface DialogProps {
    app: AppState;
    onClose: () => void;
}

function NewChat({ app, onClose }: DialogProps) {
    return (
        <Modal title={t.newChat} onClose={onClose}>
            <PeoplePicker
                app={app}
                onPick={(u) => {
                    onClose();
                    app.go(`#/u/${u.userId}`);
                }}
            />
        </Modal>
    );
}

function NewGroup({ app, onClose }: DialogProps) {
    const [name, setName] = useState('');
    const [chosen, setChosen] = useState<User[]>([]);
    const [busy, setBusy] = useState(false);
    const create = async () => {
        setBusy(true);
        await app.attempt(async () => {
            const id = await app.client.rest.createGroup(name.trim(), chosen.map((u) => u.userId));
            onClose();
            app.go(`#/c/${id}`);
        });
        setBusy(false);
    };
    return (
        <Modal title={t.newGroup} onClose={onClose}>
            <form
                onSubmit={(e) => {
                    e.preventDefault();
                    void create();
                }}
            >
                <Field label={t.groupName} value={name} onValue={setName} maxLength={100} autofocus required />
                <p class="label">{t.chooseMembers}</p>
                <PeoplePicker app={app} chosen={chosen} onPick={(u) => setChosen(toggle(chosen, u))} />
                <footer class="modal-foot">
                    <button type="button" class="plain" onClick={onClose}>{t.cancel}</button>
                    <button type="submit" class="primary" disabled={busy || name.trim() === ''}>{t.create}</button>
                </footer>
            </form>
        </Modal>
    );
}

const DAY = 86_400;

function Invite({ app, onClose }: DialogProps) {
    const [uses, setUses] = useState('10');
    const [days, setDays] = useState('7');
    const [link, setLink] = useState<InviteLink>();
    const [busy, setBusy] = useState(false);
    const make = async () => {
        setBusy(true);
        await app.attempt(async () => setLink(await app.client.rest.createInvite(Number(uses), Number(days) * DAY)));
        setBusy(false);
    };
    return (
        <Modal title={t.inviteTitle} onClose={onClose}>
            <p class="lead">{t.inviteHint}</p>
            <div class="field-pair">
                <label>
                    {t.inviteUses}
                    <select value={uses} onChange={(e) => setUses(e.currentTarget.value)}>
                        <option value="1">1</option>
                        <option value="10">10</option>
                        <option value="100">100</option>
                    </select>
                </label>
                <label>
                    {t.inviteExpires}
                    <select value={days} onChange={(e) => setDays(e.currentTarget.value)}>
                        <option value="1">{t.days(1)}</option>
                        <option value="7">{t.days(7)}</option>
                        <option value="30">{t.days(30)}</option>
                    </select>
                </label>
            </div>
            {link && (
                <div class="copy-row">
                    <input readOnly aria-label={t.inviteLink} value={link.link} data-test="invite-link"
                        onFocus={(e) => e.currentTarget.select()} />
                    <button type="button" class="plain" onClick={() => void copyText(app, link.link)}>{t.copy}</button>
                </div>
            )}
            <footer class="modal-foot">
                <button type="button" class="plain" onClick={onClose}>{t.close}</button>
                <button type="button" class="primary" disabled={busy} onClick={() => void make()}>{t.makeLink}</button>
            </footer>
        </Modal>
    );
}

function SignOut({ app, onClose }: DialogProps) {
    app.seen('outbox');
    const unsent = app.client.unsent;
    return (
        <Modal title={t.signOut} onClose={onClose}>
            <p>{unsent > 0 ? t.signOutUnsent(unsent) : t.signOutPlain}</p>
            <footer class="modal-foot">
                <button type="button" class="plain" onClick={onClose}>{t.cancel}</button>
                <button type="button" class={`primary ${unsent > 0 ? 'danger' : ''}`}
                    onClick={() => {
                        onClose();
                        void app.signOut();
                    }}>
                    {t.signOut}
                </button>
            </footer>
        </Modal>
    );
}
