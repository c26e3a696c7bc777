using System.Collections.Frozen;
using System.ComponentModel.DataAnnotations;
using System.Security.Claims;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access.SignIn;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Identity;
using Microsoft.EntityFrameworkCore;

namespace Intercommunalite.Hub.Access;

/// <summary>What is asked for an account.</summary>
/// <param name="Email">Address by which the person signs in.</param>
/// <param name="Name">Name to be shown.</param>
/// <param name="Roles">Of <see cref="AccountsAdmin.RolesOfPeople"/>.</param>
/// <param name="Communes">INSEE codes; required with a role that holds for given communes.</param>
internal sealed record AccountRequest(string Email, string Name, IReadOnlyList<string> Roles, IReadOnlyList<string>? Communes = null);

/// <summary>An account as it is shown.</summary>
/// <param name="Id">Its id, by which the audit names it.</param>
/// <param name="Email">Address by which the person signs in.</param>
/// <param name="Name">Name to be shown.</param>
/// <param name="Roles">What it may be.</param>
/// <param name="Communes">For which communes.</param>
/// <param name="Suspended">Does not come in.</param>
/// <param name="LockedUntil">After too many wrong passwords.</param>
/// <param name="Authenticator">Whether the authenticator app is set up.</param>
/// <param name="TemporaryPassword">Whether the person still has to choose a password.</param>
/// <param name="Provider">The OpenID Connect issuer that it is bound to.</param>
internal sealed record AccountShown(
    string Id, string? Email, string? Name, IReadOnlyList<string> Roles, IReadOnlyList<string> Communes, bool Suspended, DateTimeOffset? LockedUntil, bool Authenticator,
    bool TemporaryPassword, string? Provider);

/// <summary>An account that was made, or has a new password.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Email">Address by which the person signs in.</param>
/// <param name="TemporaryPassword">Told this once; null where passwords are not taken.</param>
internal sealed record AccountPassword(string Id, string? Email, string? TemporaryPassword);

/// <summary>Accounts: people who sign in to the pages.</summary>
internal static class AccountsAdmin
{
    /// <summary>What a person can be.</summary>
    public static FrozenSet<string> RolesOfPeople { get; } = FrozenSet.Create(Roles.CommuneAgent, Roles.EpciAgent, Roles.Administrator, Roles.DataProtectionOfficer);

    public static void Map(IEndpointRouteBuilder api)
    {
        var accounts = api.MapGroup("access/accounts").RequireAuthorization(Rules.Administer);
        accounts.MapGet("", ListAsync).WithName("Accounts").WithSummary("Accounts of people, and what they may be");
        accounts.MapPost("", CreateAsync).WithName("AccountCreate").WithSummary("A new account; its temporary password is told once");
        accounts.MapGet("{id}", ShowAsync).WithName("Account").WithSummary("One of them");
        accounts.MapPut("{id}", ChangeAsync).WithName("AccountChange").WithSummary("Its address, name, roles and communes");
        accounts.MapPost("{id}/suspension", SuspendAsync).WithName("AccountSuspend").WithSummary("The person does not come in, and is sent out");
        accounts.MapDelete("{id}/suspension", ResumeAsync).WithName("AccountResume").WithSummary("The person may come in again");
        accounts.MapPost("{id}/password", ResetPasswordAsync).WithName("AccountPassword").WithSummary("A new temporary password, told once; ends the sessions, and a lock after wrong passwords");
        accounts.MapDelete("{id}/authenticator", ResetAuthenticatorAsync).WithName("AccountAuthenticator").WithSummary("Forgets the authenticator app and its recovery codes; ends the sessions");
        accounts.MapDelete("{id}", DeleteAsync).WithName("AccountDelete").WithSummary("It is forgotten; the audit remembers its id");
    }

    /// <summary>What is wrong with the roles and communes of a person.</summary>
    public static IEnumerable<FieldError> Check(IReadOnlyList<string> roles, IReadOnlyList<string> communes, Epci territory)
    {
        for (var index = 0; index < roles.Count; index++)
        {
            if (!RolesOfPeople.Contains(roles[index])) yield return new($"roles.{index}", $"one of {string.Join(", ", RolesOfPeople.Order(StringComparer.Ordinal))} expected");
        }

        foreach (var error in ClientsAdmin.Check(roles, communes, territory).Where(error => !error.Field.StartsWith("roles.", StringComparison.Ordinal))) yield return error;
    }

    /// <summary>An account, to be added; a temporary password holds for seven days. Takes a good part of a second where there is a password: not for the middle of a transaction.</summary>
    /// <returns>It, and its temporary password; null where passwords are not taken.</returns>
    public static (Account Account, string? Password) New(UserManager<Account> accounts, SignInSettings settings, TimeProvider clock, AccountRequest asked)
    {
        var account = new Account { UserName = asked.Email.Trim(), Email = asked.Email.Trim(), DisplayName = asked.Name.Trim() };
        if (!settings.TakesPasswords) return (account, null);
        var (password, hash) = NewPassword(accounts);
        SetTemporary(account, hash, clock);
        return (account, password);
    }

    /// <summary>Adds a new account.</summary>
    /// <returns>False when there is one of this address.</returns>
    public static async Task<bool> AddAsync(UserManager<Account> accounts, Account account, IReadOnlyList<string> roles, IReadOnlyList<string> communes)
    {
        var created = await accounts.CreateAsync(account);
        if (!created.Succeeded) return created.Errors.Any(error => error.Code == "DuplicateUserName") ? false : throw Impossible(created);
        // Now, since a page that is only looked at changes nothing.
        await MustAsync(accounts.ResetAuthenticatorKeyAsync(account));
        await SetRightsAsync(accounts, account, roles, communes);
        return true;
    }

    /// <summary>Gives an account exactly these roles and communes.</summary>
    /// <returns>Whether it had others.</returns>
    public static async Task<bool> SetRightsAsync(UserManager<Account> accounts, Account account, IReadOnlyList<string> roles, IReadOnlyList<string> communes)
    {
        var had = (await accounts.GetClaimsAsync(account)).Where(claim => claim.Type is Caller.RolesClaim or Caller.CommunesClaim).ToList();
        var wanted = roles.Distinct().Select(role => (Caller.RolesClaim, role)).Concat(communes.Distinct().Select(code => (Caller.CommunesClaim, code))).ToList();
        var gone = had.Where(claim => !wanted.Contains((claim.Type, claim.Value))).ToList();
        var come = wanted.Where(right => !had.Any(claim => claim.Type == right.Item1 && claim.Value == right.Item2)).Select(right => new Claim(right.Item1, right.Item2)).ToList();
        if (gone.Count > 0) await MustAsync(accounts.RemoveClaimsAsync(account, gone));
        if (come.Count > 0) await MustAsync(accounts.AddClaimsAsync(account, come));
        return gone.Count > 0 || come.Count > 0;
    }

    /// <summary>Roles and communes, for the audit.</summary>
    public static JsonObject Rights(IReadOnlyList<string> roles, IReadOnlyList<string>? communes) => new()
    {
        ["roles"] = JsonSerializer.SerializeToNode(roles),
        ["communes"] = JsonSerializer.SerializeToNode(communes ?? []),
    };

    /// <summary>Whether a text can be an address to sign in by.</summary>
    public static bool IsEmail(string? email) => email?.Trim() is { Length: <= 256 } address && new EmailAddressAttribute().IsValid(address) && !address.Any(char.IsWhiteSpace);

    private static async Task<IResult> ListAsync(AccessDatabase database, UserManager<Account> accounts, CancellationToken cancellation)
    {
        var items = new List<AccountShown>();
        foreach (var account in await database.Users.OrderBy(account => account.NormalizedUserName).ToListAsync(cancellation)) items.Add(await ShownAsync(accounts, account));
        return TypedResults.Ok(new { items });
    }

    private static async Task<IResult> ShowAsync(string id, UserManager<Account> accounts) =>
        await accounts.FindByIdAsync(id) is { } account ? TypedResults.Ok(await ShownAsync(accounts, account)) : NotKnown();

    private static async Task<IResult> CreateAsync(
        HttpContext context, UserManager<Account> accounts, SignInSettings settings, TimeProvider clock, Epci territory, RightsChanges changes)
    {
        var (asked, problem) = await Body.ReadAsync<AccountRequest>(context.Request);
        if (asked is null) return problem!;
        if (Errors(asked, territory) is { Count: > 0 } errors) return Body.Unprocessable(errors);
        var (account, password) = New(accounts, settings, clock, asked);
        return await changes.MakeAsync(async () =>
        {
            if (!await AddAsync(accounts, account, asked.Roles, asked.Communes ?? [])) return There();
            await changes.NoteAsync(context, "access.account-created", account.Id, null, Rights(asked.Roles, asked.Communes));
            return TypedResults.Created($"{context.Request.Path}/{account.Id}", new AccountPassword(account.Id, account.Email, password));
        }, context.RequestAborted);
    }

    private static async Task<IResult> ChangeAsync(string id, HttpContext context, AccessDatabase database, UserManager<Account> accounts, Epci territory, RightsChanges changes)
    {
        var (asked, problem) = await Body.ReadAsync<AccountRequest>(context.Request);
        if (asked is null) return problem!;
        if (Errors(asked, territory) is { Count: > 0 } errors) return Body.Unprocessable(errors);
        return await changes.MakeAsync(async () =>
        {
            if (await accounts.FindByIdAsync(id) is not { } account) return NotKnown();
            if (!asked.Roles.Contains(Roles.Administrator) && await IsLastAsync(database, id, context.RequestAborted)) return Last();
            (account.UserName, account.Email, account.DisplayName) = (asked.Email.Trim(), asked.Email.Trim(), asked.Name.Trim());
            var changed = await accounts.UpdateAsync(account);
            if (!changed.Succeeded) return changed.Errors.Any(error => error.Code == "DuplicateUserName") ? There() : throw Impossible(changed);
            await SetRightsAsync(accounts, account, asked.Roles, asked.Communes ?? []);
            await changes.NoteAsync(context, "access.account-changed", id, null, Rights(asked.Roles, asked.Communes));
            return TypedResults.Ok(await ShownAsync(accounts, account));
        }, context.RequestAborted);
    }

    private static async Task<IResult> SuspendAsync(string id, HttpContext context, AccessDatabase database, UserManager<Account> accounts, RightsChanges changes)
    {
        var (given, problem) = await Body.ReadAsync<Reasoned>(context.Request);
        if (given is null) return problem!;
        if (string.IsNullOrWhiteSpace(given.Reason)) return Body.Unprocessable("reason", "required");
        return await changes.MakeAsync(async () =>
        {
            if (await accounts.FindByIdAsync(id) is not { } account) return NotKnown();
            if (await IsLastAsync(database, id, context.RequestAborted)) return Last();
            account.Suspended = true;
            // What was signed in before does not come back when the account is resumed.
            await MustAsync(accounts.UpdateSecurityStampAsync(account));
            await changes.NoteAsync(context, "access.account-suspended", id, given.Reason);
            return TypedResults.Ok(await ShownAsync(accounts, account));
        }, context.RequestAborted);
    }

    private static Task<IResult> ResumeAsync(string id, HttpContext context, UserManager<Account> accounts, RightsChanges changes) =>
        changes.MakeAsync(async () =>
        {
            if (await accounts.FindByIdAsync(id) is not { } account) return NotKnown();
            account.Suspended = false;
            await MustAsync(accounts.UpdateAsync(account));
            await changes.NoteAsync(context, "access.account-resumed", id);
            return TypedResults.Ok(await ShownAsync(accounts, account));
        }, context.RequestAborted);

    private static async Task<IResult> ResetPasswordAsync(
        string id, HttpContext context, UserManager<Account> accounts, Lockout lockout, SignInSettings settings, TimeProvider clock, RightsChanges changes)
    {
        if (!settings.TakesPasswords)
            return TypedResults.Problem(title: "No passwords here", detail: "People sign in by the provider of SignIn:Oidc:Authority.", statusCode: StatusCodes.Status409Conflict);
        var (password, hash) = NewPassword(accounts);
        return await changes.MakeAsync(async () =>
        {
            if (await accounts.FindByIdAsync(id) is not { } account) return NotKnown();
            SetTemporary(account, hash, clock);
            await lockout.ForgiveAsync(id, context.RequestAborted);
            await MustAsync(accounts.UpdateSecurityStampAsync(account));
            await changes.NoteAsync(context, "access.account-password-reset", id);
            return TypedResults.Ok(new AccountPassword(id, account.Email, password));
        }, context.RequestAborted);
    }

    private static Task<IResult> ResetAuthenticatorAsync(string id, HttpContext context, UserManager<Account> accounts, RightsChanges changes) =>
        changes.MakeAsync(async () =>
        {
            if (await accounts.FindByIdAsync(id) is not { } account) return NotKnown();
            await MustAsync(accounts.SetTwoFactorEnabledAsync(account, false));
            await MustAsync(accounts.ResetAuthenticatorKeyAsync(account));
            await accounts.GenerateNewTwoFactorRecoveryCodesAsync(account, 0);
            await changes.NoteAsync(context, "access.account-authenticator-reset", id);
            return TypedResults.Ok(await ShownAsync(accounts, account));
        }, context.RequestAborted);

    private static Task<IResult> DeleteAsync(string id, HttpContext context, AccessDatabase database, UserManager<Account> accounts, RightsChanges changes) =>
        changes.MakeAsync(async () =>
        {
            if (await accounts.FindByIdAsync(id) is not { } account) return NotKnown();
            if (await IsLastAsync(database, id, context.RequestAborted)) return Last();
            await MustAsync(accounts.DeleteAsync(account));
            await changes.NoteAsync(context, "access.account-deleted", id);
            return TypedResults.NoContent();
        }, context.RequestAborted);

    // Takes a good part of a second: before a change, not in it.
    private static (string Password, string Hash) NewPassword(UserManager<Account> accounts)
    {
        var password = Passwords.Temporary();
        return (password, accounts.PasswordHasher.HashPassword(new(), password));
    }

    private static void SetTemporary(Account account, string hash, TimeProvider clock) =>
        (account.PasswordHash, account.MustChangePassword, account.TemporaryUntil) = (hash, true, clock.GetUtcNow() + Passwords.TemporaryFor);

    private static List<FieldError> Errors(AccountRequest asked, Epci territory)
    {
        var errors = Check(asked.Roles, asked.Communes ?? [], territory).ToList();
        if (asked.Name.Trim() is not { Length: >= 1 and <= 200 }) errors.Insert(0, new("name", "1 to 200 characters expected"));
        if (!IsEmail(asked.Email)) errors.Insert(0, new("email", "an e-mail address expected"));
        return errors;
    }

    private static async Task<AccountShown> ShownAsync(UserManager<Account> accounts, Account account)
    {
        var claims = await accounts.GetClaimsAsync(account);
        return new(
            account.Id, account.Email, account.DisplayName, Values(Caller.RolesClaim), Values(Caller.CommunesClaim), account.Suspended,
            await accounts.IsLockedOutAsync(account) ? account.LockoutEnd : null, account.TwoFactorEnabled, account.MustChangePassword,
            (await accounts.GetLoginsAsync(account)).FirstOrDefault()?.LoginProvider);

        List<string> Values(string type) => [.. claims.Where(claim => claim.Type == type).Select(claim => claim.Value).Order(StringComparer.Ordinal)];
    }

    private static async Task<bool> IsLastAsync(AccessDatabase database, string id, CancellationToken cancellation)
    {
        var administrators = await database.UserClaims
            .Where(claim => claim.ClaimType == Caller.RolesClaim && claim.ClaimValue == Roles.Administrator)
            .Join(database.Users.Where(account => !account.Suspended), claim => claim.UserId, account => account.Id, (_, account) => account.Id)
            .ToListAsync(cancellation);
        return administrators.Count == 1 && administrators[0] == id;
    }

    /// <summary>Does something to an account that nothing stands against.</summary>
    /// <exception cref="InvalidOperationException">Another change came between; the message holds no value.</exception>
    internal static async Task MustAsync(Task<IdentityResult> act)
    {
        if (await act is { Succeeded: false } failed) throw Impossible(failed);
    }

    // Codes alone: the descriptions repeat values.
    private static InvalidOperationException Impossible(IdentityResult result) => new($"The account was not taken: {string.Join(", ", result.Errors.Select(error => error.Code))}.");

    private static ProblemHttpResult NotKnown() => TypedResults.Problem(title: "Account not known", detail: "No account has that id.", statusCode: StatusCodes.Status404NotFound);

    private static ProblemHttpResult There() => TypedResults.Problem(
        title: "There is one already", detail: "An account of this address is known. Change it, or give another address.", statusCode: StatusCodes.Status409Conflict);

    private static ProblemHttpResult Last() => TypedResults.Problem(
        title: "The last administrator", detail: "It is the last account of an administrator. Make another one first.", statusCode: StatusCodes.Status409Conflict);
}
