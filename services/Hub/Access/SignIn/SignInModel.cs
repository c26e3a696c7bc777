namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>What the sign-in page shows.</summary>
/// <param name="Email">The address that was given.</param>
/// <param name="Problem">What was wrong.</param>
/// <param name="ProviderFailed">Whether the provider could not sign the person in.</param>
public sealed record SignInModel(string? Email = null, string? Problem = null, bool ProviderFailed = false);
