/* What is a likely mistake. The format is .editorconfig's; nobody argues about the rest. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import tseslint from 'typescript-eslint';

export default tseslint.config(
    { ignores: ['dist/', 'node_modules/', 'packages/*/node_modules/', '*.mjs', '*.js', 'tools/', 'dev/', '**/api.gen.ts'] },
    ...tseslint.configs.recommendedTypeChecked,
    {
        languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: dirname(fileURLToPath(import.meta.url)) } },
        rules: {
            '@typescript-eslint/no-explicit-any': 'error',
            '@typescript-eslint/no-non-null-assertion': 'error',
            '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
            '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
            '@typescript-eslint/consistent-type-imports': 'error',
            'no-restricted-syntax': [
                'error',
                {
                    selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
                    message: 'No HTML from data, ever.',
                },
                {
                    selector: "MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]",
                    message: 'No HTML from data, ever.',
                },
                { selector: 'JSXText[value=/[a-z]{2}/i]', message: 'Texts come from src/i18n.' },
                { selector: 'TSEnumDeclaration', message: 'A union of strings does it.' },
            ],
            eqeqeq: 'error',
            'no-console': 'error',
        },
    },
    {
        files: ['**/*.test.ts', 'e2e/**'],
        rules: { '@typescript-eslint/no-floating-promises': 'off', '@typescript-eslint/no-misused-promises': 'off' },
    },
);
