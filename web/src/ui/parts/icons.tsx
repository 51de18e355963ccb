/* Icons, drawn on a grid of 24 with strokes of the text's colour. Decoration: texts name things. */
import type { ComponentChildren } from 'preact';

function Icon({ children, size = 20 }: { children: ComponentChildren; size?: number }) {
    return (
        <svg
            class="icon"
            width={size}
            height={size}
            viewBox="0 0 24 24"
            fill="none"
            stroke="currentColor"
            stroke-width="2"
            stroke-linecap="round"
            stroke-linejoin="round"
            aria-hidden="true"
            focusable="false"
        >
            {children}
        </svg>
    );
}

export const BackIcon = () => (
    <Icon>
        <path d="M15 5l-7 7 7 7" />
    </Icon>
);
export const MoreIcon = ({ size = 20 }: { size?: number }) => (
    <Icon size={size}>
        <path d="M12 5.5v.01M12 12v.01M12 18.5v.01" stroke-width="3" />
    </Icon>
);
export const PenIcon = () => (
    <Icon>
        <path d="M4 20h4L19 9a2.1 2.1 0 0 0 0-3l-1-1a2.1 2.1 0 0 0-3 0L4 16v4zM13.5 6.5l4 4" />
    </Icon>
);
export const PeopleIcon = () => (
    <Icon>
        <circle cx="9" cy="8" r="3.5" />
        <path d="M2.5 20c.6-3.6 3.2-5.5 6.5-5.5s5.9 1.9 6.5 5.5M16 4.8a3.5 3.5 0 0 1 0 6.4M18.5 15c1.6.8 2.7 2.5 3 5" />
    </Icon>
);
export const SendIcon = () => (
    <Icon>
        <path d="M21 3L10.5 13.5M21 3l-6.5 18-4-7.5L3 9.5 21 3z" />
    </Icon>
);
export const SearchIcon = () => (
    <Icon size={18}>
        <circle cx="11" cy="11" r="6.5" />
        <path d="M20 20l-4.3-4.3" />
    </Icon>
);
export const CloseIcon = ({ size = 18 }: { size?: number }) => (
    <Icon size={size}>
        <path d="M6 6l12 12M18 6L6 18" />
    </Icon>
);
export const DownIcon = () => (
    <Icon>
        <path d="M12 5v14M6 13l6 6 6-6" />
    </Icon>
);
export const UpIcon = () => (
    <Icon size={16}>
        <path d="M12 19V5M6 11l6-6 6 6" />
    </Icon>
);
export const SmileIcon = () => (
    <Icon size={22}>
        <circle cx="12" cy="12" r="9" />
        <path d="M8.5 14.5c.8 1.3 2 2 3.5 2s2.700-.7 3.500-2M9 9.500v.010M15 9.500v.010" />
    </Icon>
);
export const ReplyIcon = () => (
    <Icon size={16}>
        <path d="M10 8V4l-7 7 7 7v-4.5c5 0 8 1.5 10.5 5-.5-6-4-10.5-10.5-10.5z" />
    </Icon>
);
export const PinIcon = () => (
    <Icon size={14}>
        <path d="M9 4h6l-1 6 3 3v2H7v-2l3-3-1-6zM12 15v6" />
    </Icon>
);
export const MuteIcon = () => (
    <Icon size={14}>
        <path d="M6 9a6 6 0 0 1 9.5-4.9M18 9c0 5 2 7 2 7H9M4 16s1.3-1.3 1.8-4M10 20a2 2 0 0 0 4 0M3 3l18 18" />
    </Icon>
);
export const CheckIcon = () => (
    <Icon size={18}>
        <path d="M5 12.5l4.5 4.5L19 7" />
    </Icon>
);
export const ChatIcon = () => (
    <Icon size={44}>
        <path
            stroke-width="1.5"
            d="M4 5.5h16a1 1 0 0 1 1 1V16a1 1 0 0 1-1 1h-8l-5 4v-4H4a1 1 0 0 1-1-1V6.5a1 1 0 0 1 1-1zM7.5 10h9M7.5 13h6"
        />
    </Icon>
);

/* ---- Ticks ---- */

export type Progress = 'queued' | 'sending' | 'failed' | 'sent' | 'delivered' | 'read';

export function Ticks({ progress, label }: { progress: Progress; label: string }) {
    return (
        <span class={`ticks ticks-${progress}`} role="img" aria-label={label} title={label}>
            <svg width="18" height="12" viewBox="0 0 18 12" fill="none" stroke="currentColor" aria-hidden="true"
                stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round">
                {progress === 'queued' || progress === 'sending' ? (
                    <>
                        <circle cx="9" cy="6" r="4.6" />
                        <path d="M9 3.5V6l1.7 1.2" />
                    </>
                ) : progress === 'failed' ? (
                    <>
                        <circle cx="9" cy="6" r="4.9" />
                        <path d="M9 3.4v3M9 8.6v.010" />
                    </>
                ) : progress === 'sent' ? (
                    <path d="M5 6.5l2.8 2.8L13.5 3" />
                ) : (
                    <path d="M1.5 6.5l2.8 2.8L10 3M7.6 8.7l.7.6L14.5 3" />
                )}
            </svg>
        </span>
    );
}

export function Logo({ size = 40 }: { size?: number }) {
    return (
        <svg width={size} height={size} viewBox="0 0 48 48" aria-hidden="true" focusable="false">
            <rect class="logo-ground" width="48" height="48" rx="12" />
            <path
                class="logo-sign"
                d="M12 15a3 3 0 0 1 3-3h18a3 3 0 0 1 3 3v12a3 3 0 0 1-3 3H23l-7 6v-6h-1a3 3 0 0 1-3-3V15z"
            />
            <path class="logo-line" d="M18 18.5h12M18 23.5h8" />
        </svg>
    );
}
