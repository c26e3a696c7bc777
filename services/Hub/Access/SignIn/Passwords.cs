using System.Security.Cryptography;
using Microsoft.AspNetCore.Identity;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>
/// Checks passwords, a few at a time: each costs a good part of a second of a core on purpose, and events must go on meanwhile.
/// </summary>
internal sealed class Passwords(UserManager<Account> accounts)
{
    /// <summary>How long a temporary password lets in: it goes by mail or telephone, and must not lie about.</summary>
    public static readonly TimeSpan TemporaryFor = TimeSpan.FromDays(7);

    private static readonly SemaphoreSlim s_turns = new(Math.Max(1, Environment.ProcessorCount / 2));
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly Account s_nobody = new();
    private static string? s_nobodysHash;

    /// <summary>Whether the password is that of the account; as long in coming where there is no account.</summary>
    /// <exception cref="TimeoutException">Too many want to know.</exception>
    public async Task<bool> IsRightAsync(Account? account, string password)
    {
        if (!await s_turns.WaitAsync(s_patience)) throw new TimeoutException("Too many sign-ins at a time.");
        try
        {
            if (account?.PasswordHash is not null) return await accounts.CheckPasswordAsync(account, password);
            s_nobodysHash ??= accounts.PasswordHasher.HashPassword(s_nobody, Temporary());
            accounts.PasswordHasher.VerifyHashedPassword(s_nobody, s_nobodysHash, password);
            return false;
        }
        finally
        {
            s_turns.Release();
        }
    }

    /// <summary>A password for the first sign-in: 78 bits, without letters that are mistaken for others.</summary>
    public static string Temporary() => string.Join('-', Enumerable.Range(0, 4).Select(_ => RandomNumberGenerator.GetString("abcdefghjkmnpqrstuvwxyz23456789", 4)));
}

/// <summary>
/// Refuses passwords that are guessed first (ANSSI and NIST SP 800-63B, 3.1.1.2: length and a check against the guessable, no mix of
/// kinds of characters): common words with something before or behind, runs of the keyboard, repetitions, the person's own name.
/// </summary>
internal sealed class GuessablePasswords : IPasswordValidator<Account>
{
    private static readonly string[] s_words =
    [
        "administrateur", "administrator", "admin", "azerty", "bienvenue", "bonjour", "changeme", "changezmoi", "chocolat", "commune", "communaute", "doudou", "football",
        "hub", "iloveyou", "intercommunalite", "interco", "jetaime", "letmein", "login", "loulou", "mairie", "marseille", "monmotdepasse", "motdepasse", "nicolas", "password",
        "passw", "pass", "qwerty", "secret", "soleil", "test", "welcome",
    ];

    private static readonly string[] s_runs =
    [
        "01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "azertyuiopqsdfghjklmwxcvbn", "qwertyuiopasdfghjklzxcvbnm", "&éèçàaqwzsxedcrfvtgbyhnujikolpm", "1a2z3e4r5t6y7u8i9o0p",
        "1q2w3e4r5t6y7u8i9o0p", "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    ];

    /// <inheritdoc/>
    public Task<IdentityResult> ValidateAsync(UserManager<Account> manager, Account user, string? password) => Task.FromResult(
        password is not null && IsGuessable(password, user.DisplayName, user.Email) ? IdentityResult.Failed(new IdentityError { Code = "Guessable" }) : IdentityResult.Success);

    /// <summary>Whether whoever knows the person, and what passwords are common, finds it soon.</summary>
    public static bool IsGuessable(string password, params ReadOnlySpan<string?> names)
    {
        var rest = password.ToLowerInvariant();
        foreach (var name in names)
        {
            foreach (var part in (name ?? "").ToLowerInvariant().Split([' ', '-', '.', '@', '_', '\''], StringSplitOptions.RemoveEmptyEntries).Where(part => part.Length >= 4))
            {
                if (rest.Contains(part, StringComparison.Ordinal)) return true;
            }
        }

        // What is left without common words, runs, digits at the edges and repetitions is what must be guessed.
        rest = rest.Replace('@', 'a').Replace('0', 'o').Replace('$', 's').Replace('3', 'e').Replace('é', 'e');
        foreach (var word in s_words) rest = rest.Replace(word, "", StringComparison.Ordinal);
        return IsRun(password.ToLowerInvariant()) || rest.Count(char.IsLetter) + (rest.Count(c => !char.IsLetter(c)) / 3) < 5 || password.Distinct().Count() < 6;
    }

    // Half of it or more is steps along a keyboard row or an alphabet, forward or backward, or the same character again.
    private static bool IsRun(string password)
    {
        var steps = 0;
        for (var index = 1; index < password.Length; index++)
        {
            var (pair, back) = (password.Substring(index - 1, 2), string.Concat(password[index], password[index - 1]));
            if (password[index] == password[index - 1] || s_runs.Any(run => run.Contains(pair, StringComparison.Ordinal) || run.Contains(back, StringComparison.Ordinal))) steps++;
        }

        return steps * 4 >= password.Length * 3;
    }
}
