using System.ComponentModel;
using System.Security.Cryptography;
using System.Text;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Territory;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Intercommunalite.Hub.Agreements;

/// <summary><c>privacy/register</c>: the register of processing, as data, as a page, or as text.</summary>
internal static class RegisterApi
{
    /// <summary>How the page looks, on screens and on paper.</summary>
    public const string Style = """
        :root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;margin:0}main{max-width:70rem;margin:auto;padding:1rem}
        dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}dt{font-weight:600}dd{margin:0}
        table{border-collapse:collapse;width:100%}th,td{border:1px solid;padding:.25rem .5rem;text-align:left;vertical-align:top}
        section{break-inside:avoid-page}@media(max-width:40rem){dl{grid-template-columns:1fr}table{display:block;overflow-x:auto}}
        """;

    private static readonly string s_policy =
        $"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(Style)))}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    public static void Map(RouteGroupBuilder api) => api.MapGet("privacy/register", ShowAsync).RequireAuthorization(Rules.Audit)
        .WithName("Register").WithSummary("The register of processing (RGPD art. 30), from the catalogue and the agreements: JSON, a page (html) or text (md)");

    private static async Task<IResult> ShowAsync(
        HttpContext context, Epci territory, AgreementStore store, TerritoryClock clock, IConfiguration configuration, [Description("json, html or md")] string format = "json")
    {
        if (format is not ("json" or "html" or "md")) return Query.Problem("format", "json, html or md expected");
        var register = Register.Of(
            territory, configuration["Register:Contact"], configuration["Register:DataProtectionOfficer"], clock.Today, await store.AllAsync(context.RequestAborted));
        if (format == "json") return TypedResults.Json(register, ContractJson.Options);
        if (format == "md") return TypedResults.Text(RegisterText.Of(register), "text/markdown", Encoding.UTF8);
        context.Response.Headers.ContentSecurityPolicy = s_policy;
        context.Response.Headers.XContentTypeOptions = "nosniff";
        return new RazorComponentResult<RegisterPage>(new { Register = register });
    }
}
