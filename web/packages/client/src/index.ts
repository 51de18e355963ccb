/* @confab/client: see docs/design/web.md and the README beside package.json. */
export { ApiError, Auth, cookieKeeper, memoryKeeper, type Credentials, type RefreshKeeper } from './net/auth.js';
export { AccountApi, type Device, type Profile } from './net/account.js';
export {
    AdminApi,
    type AdminUser,
    type AuditRecord,
    type Invite,
    type Page,
    type RegistrationMode,
    type ServerStatus,
} from './net/admin.js';
export { Carriers, type Carrier } from './net/carriers.js';
export { Rest, type InviteLink, type InviteCheck, type Registration, type ServerInfo } from './net/rest.js';
export { Client, type AccountState, type ClientOptions, type LinkView } from './domain/client.js';
export type { Conversation, Cursor, Item, MessageItem, NoteItem } from './domain/model.js';
export { newerItem, patched, type Patch } from './domain/model.js';
export { addRange, type Range, type Ranges } from './domain/ranges.js';
export { OutboxFull, type EntryState } from './domain/outbox.js';
export type { Presence } from './domain/presence.js';
export { Timeline } from './domain/timeline.js';
export type { Topic } from './domain/topics.js';
export * from './platform/platform.js';
export type { Batch, OutboxEntry, Saved, Slice, Store, StoreOpener, TimelineOp } from './store/store.js';
export { MemoryStore, MemoryStores } from './store/memory.js';
export type { GroupSettings, Member, PresenceStatus, Preview, Privacy, Reader, Readers, Role, User } from './wire.js';
