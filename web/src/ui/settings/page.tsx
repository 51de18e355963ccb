/* The settings: of the account, kept by the server, and of this browser. Loaded when it is opened. */
import type { AppState } from '../app-state.js';
import { type Section, SectionsPane } from '../parts/sections.js';
import { t } from '../strings.js';
import { Appearance } from './appearance.js';
import { Devices } from './devices.js';
import { NotificationSettings } from './notifications.js';
import { PrivacySettings } from './privacy.js';
import { ProfileSettings } from './profile.js';

export function SettingsPane({ app, section }: { app: AppState; section: string }) {
    app.seen('account');
    const sections: Section[] = [
        { id: 'profile', label: t.profile },
        { id: 'devices', label: t.devices },
        { id: 'privacy', label: t.privacy },
        { id: 'notifications', label: t.notifications },
        { id: 'appearance', label: t.appearance },
    ];
    const current = sections.some((s) => s.id === section) ? section : 'profile';
    return (
        <SectionsPane title={t.settings} root="#/settings" sections={sections} current={current}>
            {current === 'devices' ? (
                <Devices app={app} />
            ) : current === 'privacy' ? (
                <PrivacySettings app={app} />
            ) : current === 'notifications' ? (
                <NotificationSettings app={app} />
            ) : current === 'appearance' ? (
                <Appearance app={app} />
            ) : (
                <ProfileSettings app={app} key={app.client.userId} />
            )}
        </SectionsPane>
    );
}
