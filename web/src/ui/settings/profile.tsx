/* Name, a line about oneself, the password. */
import { AccountApi, ApiError } from '@confab/client';
import { useState } from 'preact/hooks';
import type { AppState } from '../app-state.js';
import { Avatar } from '../parts/avatar.js';
import { Field } from '../parts/field.js';
import { problemText, t } from '../strings.js';

export function ProfileSettings({ app }: { app: AppState }) {
    app.seen('account');
    const me = app.client.me;
    /* What was typed; until then it is what the server has, and follows it. */
    const [typedName, setName] = useState<string>();
    const [typedAbout, setAbout] = useState<string>();
    const name = typedName ?? me?.displayName ?? '';
    const about = typedAbout ?? me?.about ?? '';
    const [wrong, setWrong] = useState<{ field: string | undefined; text: string }>();
    const [busy, setBusy] = useState(false);
    const changed = name.trim() !== (me?.displayName ?? '') || about.trim() !== (me?.about ?? '');
    const save = async () => {
        setBusy(true);
        setWrong(undefined);
        try {
            const user = await new AccountApi(app.client.rest).change({
                ...(typedName === undefined ? {} : { displayName: name.trim() }),
                ...(typedAbout === undefined ? {} : { about: about.trim() }),
            });
            app.client.learnOwn(user);
            setName((typed) => (typed === name ? undefined : typed));
            setAbout((typed) => (typed === about ? undefined : typed));
            app.tell(t.saved);
        } catch (e) {
            setWrong({ field: e instanceof ApiError ? e.field : undefined, text: problemText(e) });
        }
        setBusy(false);
    };
    const named = wrong?.field === 'display_name' || wrong?.field === 'about';
    return (
        <>
            <form
                onSubmit={(e) => {
                    e.preventDefault();
                    void save();
                }}
            >
                <div class="profile-head">
                    <Avatar id={me?.userId ?? ''} name={name.trim() === '' ? (me?.username ?? '') : name} size="large" />
                    <div>
                        <p class="person-name" dir="auto">@{me?.username}</p>
                        <p class="hint">{t.usernameFixed}</p>
                    </div>
                </div>
                <Field label={t.displayName} value={name} onValue={setName} maxLength={100} autocomplete="name"
                    hint={t.displayNameHint} wrong={wrong?.field === 'display_name' ? wrong.text : undefined} />
                <Field label={t.about} value={about} onValue={setAbout} maxLength={200}
                    hint={t.aboutHint} wrong={wrong?.field === 'about' ? wrong.text : undefined} />
                <p class="form-problem" role="alert">{named ? undefined : wrong?.text}</p>
                <button type="submit" class="primary" disabled={busy || !changed}>{t.save}</button>
            </form>
            <PasswordForm app={app} />
        </>
    );
}

function PasswordForm({ app }: { app: AppState }) {
    app.seen('account');
    const [now, setNow] = useState('');
    const [next, setNext] = useState('');
    const [wrong, setWrong] = useState<{ field: string | undefined; text: string }>();
    const [busy, setBusy] = useState(false);
    const change = async () => {
        setBusy(true);
        setWrong(undefined);
        try {
            await new AccountApi(app.client.rest).changePassword(now, next);
            setNow('');
            setNext('');
            app.tell(t.passwordChanged);
        } catch (e) {
            const field = e instanceof ApiError ? e.field : undefined;
            const refused = e instanceof ApiError && e.status === 403 && field === 'password';
            setWrong({ field, text: refused ? t.passwordWrong : problemText(e) });
        }
        setBusy(false);
    };
    const named = wrong?.field === 'password' || wrong?.field === 'new_password';
    return (
        <form class="block"
            onSubmit={(e) => {
                e.preventDefault();
                void change();
            }}
        >
            <h4 class="block-title">{t.changePassword}</h4>
            <input type="text" name="username" autocomplete="username" value={app.client.me?.username ?? ''} hidden readOnly />
            <Field label={t.passwordNow} value={now} onValue={setNow} password autocomplete="current-password"
                wrong={wrong?.field === 'password' ? wrong.text : undefined} />
            <Field label={t.passwordNew} value={next} onValue={setNext} password autocomplete="new-password"
                hint={t.passwordHint} wrong={wrong?.field === 'new_password' ? wrong.text : undefined} />
            <p class="form-problem" role="alert">{named ? undefined : wrong?.text}</p>
            <button type="submit" class="primary" disabled={busy || now === '' || next.length < 8}>{t.changePassword}</button>
        </form>
    );
}
