import type { Plugin } from 'esbuild';

export function emojiLines(language: string): string;
export const emojiPlugin: Plugin;
