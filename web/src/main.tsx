/* The page begins here. */
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { AccountPage } from './ui/account.js';
import { AppState } from './ui/app-state.js';
import { ConversationPane } from './ui/conversation.js';
import { Dialogs } from './ui/dialogs.js';
import { newVersion, startInstall } from './ui/install.js';
import { startKeys } from './ui/keys.js';
import { ConversationList } from './ui/list.js';
import { showUnread } from './ui/notify.js';
import { Later } from './ui/parts/later.js';
import { Announcer } from './ui/parts/announcer.js';
import { ChatIcon, Logo } from './ui/parts/icons.js';
import { languageVersion, startPreferences } from './ui/preferences.js';
import { startPresence } from './ui/presence.js';
import { t } from './ui/strings.js';
import './ui/styles/index.css';

function Home({ app }: { app: AppState }) {
    app.seen('list');
    const route = app.route.value;
    const c = route.at === 'conversation' ? app.client.conversation(route.id) : undefined;
    const chosen = route.at === 'person' || (c !== undefined && !c.left);
    const other = route.at === 'settings' || route.at === 'admin';
    useEffect(() => showUnread(app.client));
    return (
        <div class={`panes ${chosen || other ? 'panes-chosen' : ''}`}>
            <ConversationList app={app} />
            {route.at === 'settings' || route.at === 'admin' ? (
                <Later name={route.at} app={app} section={route.section} />
            ) : chosen ? (
                <ConversationPane app={app} />
            ) : (
                <main class="pane pane-empty">
                    <ChatIcon />
                    <p class="empty-title">{t.pickTitle}</p>
                    <p>{t.pickHint}</p>
                </main>
            )}
        </div>
    );
}

function App({ app }: { app: AppState }) {
    app.seen('account');
    const { account } = app.client;
    return (
        <>
            {account === 'in' ? (
                <Home app={app} />
            ) : account === 'out' ? (
                <AccountPage app={app} />
            ) : (
                <main class="account" aria-label={t.loading}>
                    <Logo size={52} />
                </main>
            )}
            <Dialogs app={app} />
            <Announcer />
            {newVersion.value && (
                <div class="update" role="status">
                    <span>{t.newVersion}</span>
                    <button type="button" class="link" onClick={newVersion.value}>{t.reload}</button>
                </div>
            )}
            <div class="toast-place" role="alert">
                {app.toast.value !== undefined && <p class="toast">{app.toast.value}</p>}
            </div>
        </>
    );
}

/* In another language everything is painted anew. */
function Root({ app }: { app: AppState }) {
    return <App key={languageVersion.value} app={app} />;
}

const root = document.getElementById('app');
if (root) {
    void startPreferences().then(() => {
        const app = new AppState();
        render(<Root app={app} />, root);
        startPresence(app);
        startKeys(app);
        startInstall({ open: (hash) => app.go(hash), settled: () => app.client.settled() });
        void app.client.start();
    });
}
