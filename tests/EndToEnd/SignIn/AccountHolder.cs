using System.Buffers.Binary;
using System.Globalization;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Microsoft.Playwright;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>A person whom an administrator has given an account.</summary>
internal sealed record AccountHolder(string Id, string Email, string TemporaryPassword)
{
    /// <summary>The password that the person chooses.</summary>
    public const string Password = "quatre chevaux à bascule";

    /// <summary>Makes an account.</summary>
    public static async Task<AccountHolder> InviteAsync(Deployment deployment, params string[] roles)
    {
        using var client = deployment.ClientOf(deployment.Hub);
        var email = $"{Guid.NewGuid():N}@example.fr";
        using var response = await client.PostAsJsonAsync(
            new Uri("/api/v1/access/accounts", UriKind.Relative),
            new { email, name = "Camille Essai", roles, communes = roles.Contains("commune-agent") ? new[] { Some.Combourg } : [] });
        var made = JsonNode.Parse(await response.Content.ReadAsStringAsync())!;
        return response.IsSuccessStatusCode ? new((string)made["id"]!, email, (string)made["temporaryPassword"]!) : throw new InvalidOperationException(made.ToJsonString());
    }

    /// <summary>Opens the dashboard in a browser as an agent of the communauté who has just got an account.</summary>
    public static async Task OpenDashboardAsync(IPage page, Deployment deployment)
    {
        var person = await InviteAsync(deployment, "epci-agent");
        await page.GotoAsync(deployment.Hub.Address.ToString());
        await page.FillAsync("#email", person.Email);
        await page.FillAsync("#password", person.TemporaryPassword);
        await page.ClickAsync("button[type=submit]");
        await page.FillAsync("#current", person.TemporaryPassword);
        await page.FillAsync("#chosen", Password);
        await page.FillAsync("#repeated", Password);
        await page.ClickAsync("button[type=submit]");
        await page.WaitForSelectorAsync("[data-testid=signed-in]");
    }

    /// <summary>Signs in for the first time and chooses the password.</summary>
    public async Task ArriveAsync(Visit visit)
    {
        using var signedIn = await visit.SubmitAsync("/compte/connexion", ("email", Email), ("password", TemporaryPassword));
        Assert.Equal("/compte/mot-de-passe", signedIn.Headers.Location?.ToString());
        using var changed = await visit.SubmitAsync("/compte/mot-de-passe", ("current", TemporaryPassword), ("chosen", Password), ("repeated", Password));
        Assert.Equal(302, (int)changed.StatusCode);
    }

    /// <summary>The code that an authenticator app shows (RFC 6238).</summary>
    /// <param name="secret">In base 32.</param>
    /// <param name="later">So many steps of 30 seconds from now.</param>
    public static string Code(string secret, int later = 0)
    {
        var bits = string.Concat(secret.Replace(" ", "", StringComparison.Ordinal)
            .Select(letter => Convert.ToString("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".IndexOf(letter, StringComparison.Ordinal), 2).PadLeft(5, '0')));
        var key = bits.Chunk(8).Where(bits => bits.Length == 8).Select(bits => Convert.ToByte(new string(bits), 2)).ToArray();
        var step = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(step, (DateTimeOffset.UtcNow.ToUnixTimeSeconds() / 30) + later);
#pragma warning disable CA5350 // What the apps compute.
        var hash = HMACSHA1.HashData(key, step);
#pragma warning restore CA5350
        return ((BinaryPrimitives.ReadInt32BigEndian(hash.AsSpan(hash[^1] & 15)) & 0x7fffffff) % 1_000_000).ToString("D6", CultureInfo.InvariantCulture);
    }
}
