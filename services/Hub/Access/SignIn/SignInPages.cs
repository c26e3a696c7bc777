using System.Security.Claims;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.Dashboard;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.AspNetCore.Components;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Identity;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.Net.Http.Headers;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>
/// The pages by which a person comes in and goes out, and keeps password and authenticator app. Plain forms: they work without a script.
/// </summary>
internal static class SignInPages
{
    /// <summary>Address and password, or the provider.</summary>
    public const string SignIn = "/compte/connexion";

    /// <summary>Code of the authenticator app.</summary>
    public const string Code = "/compte/code";

    /// <summary>Another password.</summary>
    public const string Password = "/compte/mot-de-passe";

    /// <summary>Setting the authenticator app up.</summary>
    public const string Authenticator = "/compte/double-authentification";

    /// <summary>Leaving; a form's address.</summary>
    public const string SignOut = "/compte/deconnexion";

    /// <summary>To the provider.</summary>
    public const string Provider = "/compte/fournisseur";

    /// <summary>Who is known, and may not see the pages.</summary>
    public const string Refused = "/compte/refus";

    /// <summary>Parameter: where to go afterwards, in this site.</summary>
    public const string ReturnUrl = "retour";

    /// <summary>Parameter: the provider could not sign the person in.</summary>
    public const string Failed = "echec";

    /// <summary>Parameter: the provider is to ask who it is, even if it knows.</summary>
    public const string Another = "autre";

    private const int MaxField = 256;
    private const int RecoveryCodes = 10;

    public static void Map(WebApplication app)
    {
        var pages = app.MapGroup("").ExcludeFromDescription().WithMetadata(Body.Limit).AddEndpointFilter(OfThisSiteAsync).WithMetadata(new RequireAntiforgeryTokenAttribute());
        pages.MapGet(SignIn, (HttpContext context) => Shown(context, new SignInModel(ProviderFailed: context.Request.Query.ContainsKey(Failed)))).AllowAnonymous();
        pages.MapPost(SignIn, SignInAsync).AllowAnonymous().RequireRateLimiting(RateLimits.Secrets);
        pages.MapGet(Code, ShowCodeAsync).AllowAnonymous();
        pages.MapPost(Code, CodeAsync).AllowAnonymous().RequireRateLimiting(RateLimits.Secrets);
        pages.MapGet(Refused, (Delegate)ShowRefusedAsync).AllowAnonymous();
        pages.MapPost(SignOut, SignOutAsync).RequireAuthorization(Rules.SignedIn);
        pages.MapGet(Password, ShowPasswordAsync).RequireAuthorization(Rules.SignedIn);
        pages.MapPost(Password, ChangePasswordAsync).RequireAuthorization(Rules.SignedIn).RequireRateLimiting(RateLimits.Secrets);
        pages.MapGet(Authenticator, ShowAuthenticatorAsync).RequireAuthorization(Rules.SignedIn);
        pages.MapPost(Authenticator, SetUpAuthenticatorAsync).RequireAuthorization(Rules.SignedIn);
        if (app.Services.GetRequiredService<SignInSettings>().Oidc is not null) pages.MapGet(Provider, (Delegate)ToProviderAsync).AllowAnonymous();
    }

    /// <summary>Where it is done; null when nothing is to be done.</summary>
    public static string? PageOf(Todo todo) => todo switch
    {
        Todo.ChangePassword => Password,
        Todo.SetUpCode => Authenticator,
        _ => null,
    };

    /// <summary>Whether a request is for one of these pages, which a person sees.</summary>
    public static bool Are(HttpRequest request) => request.Path.StartsWithSegments("/compte", StringComparison.Ordinal);

    /// <summary>The page that says that there were too many tries.</summary>
    public static RazorComponentResult TooOften(HttpContext context, int seconds) => Notice(
        context, "Trop de tentatives", $"Il y a eu trop de tentatives en peu de temps. Réessayez dans {French.Count(seconds, "seconde", "secondes")}.", StatusCodes.Status429TooManyRequests);

    /// <summary>The page that says that there is none at an address.</summary>
    public static RazorComponentResult NotFound(HttpContext context) => Notice(
        context, "Page introuvable", "Il n’y a pas de page à cette adresse. Vérifiez-la, ou reprenez depuis la page d’accueil.", StatusCodes.Status404NotFound);

    // A form that is not of this hub's own pages, or of a session that ended meanwhile.
    private static async ValueTask<object?> OfThisSiteAsync(EndpointFilterInvocationContext invocation, EndpointFilterDelegate next)
    {
        var context = invocation.HttpContext;
        return HttpMethods.IsPost(context.Request.Method) && context.Features.Get<IAntiforgeryValidationFeature>() is not { IsValid: true }
            ? Notice(context, "Formulaire expiré", "Ce formulaire ne peut plus être envoyé : votre session a changé entre-temps. Reprenez depuis la page d’accueil.", StatusCodes.Status400BadRequest)
            : await next(invocation);
    }

    private static async Task<IResult> SignInAsync(
        HttpContext context, SignInSettings options, UserManager<Account> accounts, Passwords passwords, Lockout lockout, Sessions sessions, AuditLog audit, TimeProvider clock)
    {
        if (!options.TakesPasswords) return ToSignIn(context);
        var form = await context.Request.ReadFormAsync(context.RequestAborted);
        var (email, password) = (Field(form, "email").Trim(), Field(form, "password"));
        var account = email.Length > 0 ? await accounts.FindByNameAsync(email) : null;
        var tries = account is null ? null : await lockout.CountAsync(account.Id, context.RequestAborted);
        bool right;
        try
        {
            right = await passwords.IsRightAsync(account, password);
        }
        catch (TimeoutException)
        {
            if (tries is not null) await lockout.TakeBackAsync(account!.Id, context.RequestAborted);
            context.Response.Headers[HeaderNames.RetryAfter] = "10";
            return Shown(context, new SignInModel(email, "Trop de connexions sont en cours. Réessayez dans quelques secondes."), StatusCodes.Status503ServiceUnavailable);
        }

        // One answer to all: who has an account here, and whether it is locked or suspended, is nobody's business.
        if (account is null || account.Suspended || tries is null || !right)
        {
            if (account is not null && right && tries is not null) await lockout.TakeBackAsync(account.Id, context.RequestAborted);
            if (account is not null && !right) await NoteFailureAsync(context, audit, account, tries);
            return Shown(context, new SignInModel(email, "Adresse ou mot de passe incorrect. Après cinq essais manqués, un compte reste fermé quinze minutes."), StatusCodes.Status401Unauthorized);
        }

        if (account.MustChangePassword && !(account.TemporaryUntil > clock.GetUtcNow()))
        {
            await lockout.TakeBackAsync(account.Id, context.RequestAborted);
            await audit.AppendAsync(new(account.Id, "access.sign-in-failed", account.Id, "the temporary password is over"), context.RequestAborted);
            return Shown(context, new SignInModel(email, "Ce mot de passe provisoire n’est plus valable : il l’était sept jours. L’administrateur du hub peut vous en donner un nouveau."), StatusCodes.Status401Unauthorized);
        }

        if (account.TwoFactorEnabled)
        {
            // The code is still to come: wrong ones stay counted, however often the password is given again.
            await lockout.TakeBackAsync(account.Id, context.RequestAborted);
            await context.SignInAsync(Sessions.HalfwayScheme, new(new ClaimsIdentity([new("sub", account.Id), new("stamp", account.SecurityStamp ?? "")], Sessions.HalfwayScheme)));
            return TypedResults.LocalRedirect(With(Code, Back(context)));
        }

        await lockout.ForgiveAsync(account.Id, context.RequestAborted);
        await sessions.OpenAsync(context, account);
        return TypedResults.LocalRedirect(PageOf(await sessions.TodoAsync(account, Sessions.ByPassword)) ?? Back(context));
    }

    private static async Task<IResult> ShowCodeAsync(HttpContext context, UserManager<Account> accounts) => await HalfwayAsync(context, accounts) is null
        ? ToSignIn(context)
        : Page<CodePage>(context, StatusCodes.Status200OK, (nameof(CodePage.Back), Back(context)));

    private static async Task<IResult> CodeAsync(HttpContext context, UserManager<Account> accounts, Lockout lockout, Sessions sessions, AuditLog audit)
    {
        if (await HalfwayAsync(context, accounts) is not { } account) return ToSignIn(context);
        var form = await context.Request.ReadFormAsync(context.RequestAborted);
        var tries = await lockout.CountAsync(account.Id, context.RequestAborted);
        if (tries is null || !await TakeCodeAsync(accounts, account, Field(form, "code")))
        {
            await NoteFailureAsync(context, audit, account, tries);
            return Page<CodePage>(context, StatusCodes.Status401Unauthorized, (nameof(CodePage.Back), Back(context)),
                (nameof(CodePage.Problem), "Ce code n’est pas le bon, ou il a déjà servi. Attendez le suivant. Après cinq essais manqués, un compte reste fermé quinze minutes."));
        }

        await lockout.ForgiveAsync(account.Id, context.RequestAborted);
        await sessions.OpenAsync(context, account);
        return TypedResults.LocalRedirect(PageOf(await sessions.TodoAsync(account, Sessions.ByPassword)) ?? Back(context));
    }

    private static async Task<IResult> SignOutAsync(HttpContext context, SignInSettings options, AuditLog audit)
    {
        var id = context.User.FindFirstValue("sub")!;
        await audit.AppendAsync(new(id, "access.signed-out", id), context.RequestAborted);
        var properties = new AuthenticationProperties { RedirectUri = SignIn };
        if (options.Oidc is not null && context.User.HasClaim(Sessions.HowClaim, Sessions.ByProvider) && await OpenIdConnect.IsThereAsync(context))
            return TypedResults.SignOut(properties, [Sessions.Scheme, OpenIdConnect.Scheme]);
        await context.SignOutAsync(Sessions.Scheme);
        return TypedResults.LocalRedirect(SignIn);
    }

    // Who has a session leaves it here; whoever a provider vouches for, but is not known, has none, and comes again as somebody else.
    private static async Task<IResult> ShowRefusedAsync(HttpContext context)
    {
        var session = await context.AuthenticateAsync(Sessions.Scheme);
        // The form is the session's own.
        if (session.Principal is { } user) context.User = user;
        return Page<RefusedPage>(context, StatusCodes.Status403Forbidden, (nameof(RefusedPage.HasSession), session.Succeeded));
    }

    private static async Task<IResult> ToProviderAsync(HttpContext context) => await OpenIdConnect.IsThereAsync(context)
        ? TypedResults.Challenge(
            new OpenIdConnectChallengeProperties { RedirectUri = Back(context), Prompt = context.Request.Query.ContainsKey(Another) ? OpenIdConnectPrompt.Login : null }, [OpenIdConnect.Scheme])
        : Notice(context, "Connexion impossible", "Le fournisseur d’identité ne répond pas. Réessayez dans quelques minutes.", StatusCodes.Status503ServiceUnavailable);

    private static async Task<IResult> ShowPasswordAsync(HttpContext context, Sessions sessions) => await OwnAsync(context, sessions) is { } account
        ? Page<PasswordPage>(context, StatusCodes.Status200OK, (nameof(PasswordPage.Forced), account.MustChangePassword))
        : ToRefused();

    private static async Task<IResult> ChangePasswordAsync(
        HttpContext context, UserManager<Account> accounts, Passwords passwords, Lockout lockout, Sessions sessions, AuditLog audit)
    {
        if (await OwnAsync(context, sessions) is not { } account) return ToRefused();
        var form = await context.Request.ReadFormAsync(context.RequestAborted);
        var (current, chosen) = (Field(form, "current"), Field(form, "chosen"));
        var tries = await lockout.CountAsync(account.Id, context.RequestAborted);
        bool right;
        try
        {
            right = await passwords.IsRightAsync(account, current);
        }
        catch (TimeoutException)
        {
            if (tries is not null) await lockout.TakeBackAsync(account.Id, context.RequestAborted);
            return Again("Trop de connexions sont en cours. Réessayez dans quelques secondes.");
        }

        if (tries is null || !right)
        {
            await NoteFailureAsync(context, audit, account, tries);
            return Again("Le mot de passe actuel n’est pas le bon.");
        }

        await lockout.ForgiveAsync(account.Id, context.RequestAborted);
        if (chosen != Field(form, "repeated")) return Again("Les deux saisies du nouveau mot de passe diffèrent.");
        if (chosen == current) return Again("Le nouveau mot de passe doit être un autre que l’actuel.");
        var forced = account.MustChangePassword;
        account.MustChangePassword = false;
        var changed = await accounts.ChangePasswordAsync(account, current, chosen);
        if (!changed.Succeeded)
        {
            account.MustChangePassword = forced;
            return Again(changed.Errors.Any(error => error.Code == "PasswordTooShort")
                ? "Le nouveau mot de passe est trop court : douze caractères au moins. Une phrase convient bien."
                : "Ce mot de passe serait vite deviné : il contient votre nom, un mot courant ou une suite de touches. Choisissez-en un autre ; une phrase convient bien.");
        }

        await audit.AppendAsync(new(account.Id, "access.password-changed", account.Id), context.RequestAborted);
        await sessions.KeepAsync(context, account);
        return TypedResults.LocalRedirect(PageOf(await sessions.TodoAsync(account, Sessions.ByPassword)) ?? "/");

        RazorComponentResult Again(string problem) => Page<PasswordPage>(
            context, StatusCodes.Status422UnprocessableEntity, (nameof(PasswordPage.Forced), account.MustChangePassword), (nameof(PasswordPage.Problem), problem));
    }

    private static async Task<IResult> ShowAuthenticatorAsync(HttpContext context, UserManager<Account> accounts, Sessions sessions)
    {
        if (await OwnAsync(context, sessions) is not { } account) return ToRefused();
        return account.TwoFactorEnabled
            ? Notice(context, "Double authentification", $"Elle est active. Il vous reste {French.Count(await accounts.CountRecoveryCodesAsync(account), "code", "codes")} de secours. Si vous avez perdu votre téléphone et vos codes, l’administrateur du hub peut la réinitialiser.")
            : await SetUpAsync(context, accounts, account);
    }

    private static async Task<IResult> SetUpAuthenticatorAsync(HttpContext context, UserManager<Account> accounts, Sessions sessions, AuditLog audit)
    {
        if (await OwnAsync(context, sessions) is not { } account) return ToRefused();
        if (account.TwoFactorEnabled) return TypedResults.LocalRedirect(Authenticator);
        var form = await context.Request.ReadFormAsync(context.RequestAborted);
        if (!await TakeCodeAsync(accounts, account, Field(form, "code")))
            return await SetUpAsync(context, accounts, account, "Ce code n’est pas le bon. Vérifiez l’heure de votre téléphone et saisissez le code affiché maintenant.");
        await accounts.SetTwoFactorEnabledAsync(account, true);
        var codes = await accounts.GenerateNewTwoFactorRecoveryCodesAsync(account, RecoveryCodes);
        await audit.AppendAsync(new(account.Id, "access.authenticator-set-up", account.Id), context.RequestAborted);
        await sessions.KeepAsync(context, account);
        return Page<RecoveryCodesPage>(context, StatusCodes.Status200OK, (nameof(RecoveryCodesPage.Codes), codes!.ToList()));
    }

    private static async Task<IResult> SetUpAsync(HttpContext context, UserManager<Account> accounts, Account account, string? problem = null) => Page<AuthenticatorPage>(
        context, problem is null ? StatusCodes.Status200OK : StatusCodes.Status422UnprocessableEntity,
        (nameof(AuthenticatorPage.Secret), await accounts.GetAuthenticatorKeyAsync(account) ?? throw new InvalidOperationException("The account has no authenticator key.")),
        (nameof(AuthenticatorPage.Account), account.Email), (nameof(AuthenticatorPage.Problem), problem));

    // A code of the app, once, or a recovery code, once.
    private static async Task<bool> TakeCodeAsync(UserManager<Account> accounts, Account account, string given)
    {
        var code = given.Replace(" ", "", StringComparison.Ordinal);
        if (code.Length == 6 && code.All(char.IsAsciiDigit))
        {
            if (code == account.LastCode || !await accounts.VerifyTwoFactorTokenAsync(account, TokenOptions.DefaultAuthenticatorProvider, code)) return false;
            account.LastCode = code;
            // Refused where another request was quicker with the same code.
            return (await accounts.UpdateAsync(account)).Succeeded;
        }

        return account.TwoFactorEnabled && code.Length > 0 && (await accounts.RedeemTwoFactorRecoveryCodeAsync(account, code.ToUpperInvariant())).Succeeded;
    }

    // What comes while it is locked does not fill the audit.
    private static async Task NoteFailureAsync(HttpContext context, AuditLog audit, Account account, int? tries)
    {
        if (tries is not { } counted) return;
        await audit.AppendAsync(new(account.Id, Lockout.IsLast(counted) ? "access.account-locked" : "access.sign-in-failed", account.Id), context.RequestAborted);
    }

    // The person whose password was right a moment ago.
    private static async Task<Account?> HalfwayAsync(HttpContext context, UserManager<Account> accounts) =>
        (await context.AuthenticateAsync(Sessions.HalfwayScheme)).Principal is { } user && await accounts.FindByIdAsync(user.FindFirstValue("sub")!) is { Suspended: false } account
        && account.SecurityStamp == user.FindFirstValue("stamp") ? account : null;

    // The account of a person that has a password here.
    private static async Task<Account?> OwnAsync(HttpContext context, Sessions sessions) =>
        context.User.HasClaim(Sessions.HowClaim, Sessions.ByPassword) ? await sessions.AccountAsync(context.User) : null;

    private static string Field(IFormCollection form, string name) => form[name].ToString() is { Length: <= MaxField } value ? value : "";

    // Of this site alone: else a link could lead from here to a page that looks like it.
    private static string Back(HttpContext context) => context.Request.Query[ReturnUrl].ToString() is { Length: > 0 and <= 2048 } url && RedirectHttpResult.IsLocalUrl(url) ? url : "/";

    private static string With(string page, string back) => back == "/" ? page : $"{page}?{ReturnUrl}={Uri.EscapeDataString(back)}";

    private static RedirectHttpResult ToSignIn(HttpContext context) => TypedResults.LocalRedirect(With(SignIn, Back(context)));

    private static RedirectHttpResult ToRefused() => TypedResults.LocalRedirect(Refused);

    private static RazorComponentResult Shown(HttpContext context, SignInModel model, int status = StatusCodes.Status200OK) => Page<SignInPage>(
        context, status, (nameof(SignInPage.Model), model), (nameof(SignInPage.Back), Back(context)));

    private static RazorComponentResult Notice(HttpContext context, string title, string text, int status = StatusCodes.Status200OK) => Page<NoticePage>(
        context, status, (nameof(NoticePage.Title), title), (nameof(NoticePage.Text), text));

    private static RazorComponentResult Page<T>(HttpContext context, int status, params ReadOnlySpan<(string Name, object? Value)> parameters)
        where T : IComponent
    {
        PageHeaders.Apply(context.Response);
        context.Response.Headers.CacheControl = "no-store";
        return new RazorComponentResult(typeof(T), parameters.ToArray().ToDictionary(parameter => parameter.Name, parameter => parameter.Value)) { StatusCode = status };
    }
}
