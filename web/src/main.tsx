/* The page begins here. */
import { render } from 'preact';
import { AccountPage } from './ui/account.js';
import { AppState } from './ui/app-state.js';
import { ConversationPane } from './ui/conversation.js';
import { Dialogs } from './ui/dialogs.js';
import { ConversationList } from './ui/list.js';
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
    return (
        <div class={`panes ${chosen ? 'panes-chosen' : ''}`}>
            <ConversationList app={app} />
            {chosen ? (
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
        void app.client.start();
    });
}
