/* Before somebody is in: sign in, sign up by an invitation, the first administrator. */
import { ApiError } from '@confab/client';
import { useEffect, useState } from 'preact/hooks';
import type { AppState } from './app-state.js';
import { Field } from './parts/field.js';
import { Logo } from './parts/icons.js';
import { problemText, t } from './strings.js';

const PASSWORD_MIN = 8;

interface Invitation {
    code: string;
    setup: boolean;
    state: 'checking' | 'good' | 'bad';
    server: string;
}

export function AccountPage({ app }: { app: AppState }) {
    const route = app.route.value;
    const [invite, setInvite] = useState<Invitation>();
    const [open, setOpen] = useState(false);
    const [registering, setRegistering] = useState(false);
    const code = route.at === 'invite' ? route.code : undefined;
    const setup = route.at === 'invite' && route.setup;

    useEffect(() => {
        if (code === undefined) {
            setInvite(undefined);
            return;
        }
        const first: Invitation = { code, setup, state: 'checking', server: t.appName };
        setInvite(first);
        app.client.rest.checkInvite(code).then(
            (i) =>
                setInvite({
                    ...first,
                    state: i.valid ? 'good' : 'bad',
                    setup: setup || i.administrator,
                    server: i.serverName ?? t.appName,
                }),
            /* Where it cannot be checked, creating the account will tell. */
            () => setInvite({ ...first, state: 'good' }),
        );
    }, [code, setup]);

    useEffect(() => {
        app.client.rest.server().then(
            (s) => setOpen(s.registration === 'open'),
            (e: unknown) => setOpen(e instanceof ApiError && e.status === 404),
        );
    }, []);

    const joining = invite?.state === 'good' || registering;
    return (
        <main class="account">
            <div class="account-card">
                <Logo size={52} />
                {invite?.state === 'checking' ? (
                    <p role="status">{t.loading}</p>
                ) : joining ? (
                    <Join
                        app={app}
                        invite={registering ? undefined : invite}
                        onSignIn={() => {
                            setRegistering(false);
                            app.go('#/');
                        }}
                    />
                ) : (
                    <SignIn
                        app={app}
                        notice={
                            invite?.state === 'bad'
                                ? t.inviteInvalid
                                : app.client.signedOutBy === 'expired'
                                  ? t.expired
                                  : undefined
                        }
                        {...(open ? { onRegister: () => setRegistering(true) } : {})}
                    />
                )}
            </div>
        </main>
    );
}

function SignIn({
    app,
    notice,
    onRegister,
}: {
    app: AppState;
    notice: string | undefined;
    onRegister?: () => void;
}) {
    const [username, setUsername] = useState('');
    const [password, setPassword] = useState('');
    const [problem, setProblem] = useState<string>();
    const [busy, setBusy] = useState(false);
    const submit = async (e: Event) => {
        e.preventDefault();
        if (username === '' || password === '' || busy) {
            return;
        }
        setBusy(true);
        setProblem(undefined);
        try {
            await app.client.signIn({ username, password });
            if (app.route.value.at === 'invite') {
                app.go('#/');
            }
        } catch (err) {
            const short = err instanceof ApiError && err.code === 'invalid';
            setProblem(problemText(short ? new ApiError(401, 'unauthenticated', '', undefined, 0) : err));
        }
        setBusy(false);
    };
    return (
        <form onSubmit={(e) => void submit(e)} noValidate>
            <h1>{t.signIn}</h1>
            <p class="lead">{notice ?? t.signInHint}</p>
            <Field label={t.username} value={username} onValue={setUsername} name="username"
                autocomplete="username" verbatim autofocus required />
            <Field label={t.password} value={password} onValue={setPassword} name="password"
                password autocomplete="current-password" required />
            <p class="form-problem" role="alert">{problem}</p>
            <button type="submit" class="primary wide" disabled={busy}>
                {busy ? t.signingIn : t.signIn}
            </button>
            {onRegister && (
                <button type="button" class="link" onClick={onRegister}>
                    {t.needAccount}
                </button>
            )}
        </form>
    );
}

function Join({
    app,
    invite,
    onSignIn,
}: {
    app: AppState;
    invite: Invitation | undefined;
    onSignIn: () => void;
}) {
    const [displayName, setDisplayName] = useState('');
    const [username, setUsername] = useState('');
    const [password, setPassword] = useState('');
    const [problem, setProblem] = useState<string>();
    const [field, setField] = useState<string>();
    const [busy, setBusy] = useState(false);
    const submit = async (e: Event) => {
        e.preventDefault();
        if (busy) {
            return;
        }
        /* A button that cannot be pressed does not say why. */
        const lacking = username.trim() === '' ? 'username' : password.length < PASSWORD_MIN ? 'password' : undefined;
        setField(lacking);
        setProblem(lacking === undefined ? undefined : lacking === 'username' ? t.usernameHint : t.passwordHint);
        if (lacking !== undefined) {
            const form = e.currentTarget instanceof HTMLFormElement ? e.currentTarget : undefined;
            form?.querySelector<HTMLInputElement>(`[name$=${lacking}]`)?.focus();
            return;
        }
        setBusy(true);
        try {
            await app.client.register({
                username: username.trim(),
                password,
                ...(displayName.trim() === '' ? {} : { displayName: displayName.trim() }),
                ...(invite ? { invite: invite.code } : {}),
            });
            app.go('#/');
        } catch (err) {
            setProblem(problemText(err));
            setField(err instanceof ApiError ? err.field : undefined);
        }
        setBusy(false);
    };
    const wrong = (name: string) => (field === name ? problem : undefined);
    const named = field === 'username' || field === 'password' || field === 'display_name';
    return (
        <form onSubmit={(e) => void submit(e)} noValidate>
            <h1>{invite?.setup ? t.setupTitle : invite ? t.joinTitle(invite.server) : t.registerTitle}</h1>
            <p class="lead">{invite?.setup ? t.setupHint : invite ? t.joinHint : ''}</p>
            <Field label={t.displayName} value={displayName} onValue={setDisplayName} name="display_name"
                autocomplete="name" hint={t.displayNameHint} wrong={wrong('display_name')} maxLength={100} autofocus />
            <Field label={t.username} value={username} onValue={setUsername} name="username"
                autocomplete="username" verbatim hint={t.usernameHint}
                wrong={wrong('username')} maxLength={50} required />
            <Field label={t.password} value={password} onValue={setPassword} name="new-password" password
                autocomplete="new-password" hint={t.passwordHint} wrong={wrong('password')} required />
            <p class="form-problem" role="alert">{named ? undefined : problem}</p>
            <button type="submit" class="primary wide" disabled={busy}>
                {busy ? t.creating : t.createAccount}
            </button>
            <button type="button" class="link" onClick={onSignIn}>
                {t.haveAccount}
            </button>
        </form>
    );
}
