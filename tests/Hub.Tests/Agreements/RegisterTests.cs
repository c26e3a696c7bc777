using System.Net;
using System.Net.Http.Headers;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Agreements;

public sealed class RegisterTests(AgreementsApiTests.Server server) : IClassFixture<AgreementsApiTests.Server>
{
    [Fact]
    public void Given_every_type_of_the_catalogue_Then_the_register_has_it_with_its_persons_data_source_and_retention_in_French()
    {
        var register = Register.Of(SampleAgreements.Territory, null, null, Today, []);
        Assert.Equal(Catalogue.All.Count, register.Activities.Where(activity => activity != Activity.Access).Sum(activity => activity.Records.Count));
        var births = register.Activities[0].Records[0];
        Assert.Equal(("Naissance enregistrée", "État civil de la commune de naissance", "12 mois à compter de l’événement"), (births.Name, births.Source, births.Retention));
        Assert.Equal(["enfant", "parents"], births.Persons.Select(category => category.Persons));
        Assert.Contains("date de naissance", births.Persons[0].Data);
        Assert.Equal(Catalogue.All.Count(type => type.Personal is not null), register.Activities.SelectMany(activity => activity.Records).Count(kept => kept.Retention.EndsWith("de l’événement", StringComparison.Ordinal)));
    }

    [Fact]
    public void Given_agreements_Then_those_that_were_ever_in_force_are_recipients_with_what_they_get()
    {
        var given = After(
            _ => Decide.Draft(null, Terms(new SharedEvents(Enrolments, ["school"], ["pupil.lastName", "responsibles.phone"])) with { Communes = ["35085"] }, Act()),
            agreement => Decide.Activate(agreement!, null, Act()));
        var draft = After(_ => Decide.Draft(null, Terms(), Act())) with { Id = "draft" };

        var register = Register.Of(SampleAgreements.Territory, null, null, Today, [given, draft]);

        var recipient = Assert.Single(register.Recipients);
        Assert.Equal(("Cantines & Cie", "en vigueur", "du 1 janvier 2026 au 31 août 2027"), (recipient.Partner, recipient.StateName, recipient.Period));
        Assert.Equal(["Combourg (35085)"], recipient.Communes);
        var shared = Assert.Single(recipient.Shared);
        Assert.Equal(("Élève inscrit", "school"), (shared.Name, Assert.Single(shared.Facts)));
        Assert.Equal(["élève : nom de naissance", "responsables de l’élève : téléphone"], shared.Persons.Select(category => category.ToString()));
        Assert.Equal(["canteen"], register.Activities.Single(activity => activity.Name == "Scolarité").Recipients);
        // On the day after its last one it still stands there, as ended.
        Assert.Equal("terminée", Assert.Single(Register.Of(SampleAgreements.Territory, null, null, new(2027, 9, 1), [given]).Recipients).StateName);
    }

    [Fact]
    public async Task Given_names_that_look_like_markup_When_the_register_is_shown_Then_they_stay_text_and_the_page_needs_nothing_from_elsewhere()
    {
        await server.Access.ActivateAsync("odd", Terms() with { Title = "<script>alert('x')</script> | *x* [a](b)", Partner = new("\"><img src=x>", ["odd-partner"]) });

        var page = await AskAsync("html");
        Assert.Equal("text/html", page.Type);
        Assert.Contains("<h1>Registre des activités de traitement</h1>", page.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", page.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("<img", page.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("http://", page.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("https://", page.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("<!--", page.Text, StringComparison.Ordinal);
        Assert.StartsWith("default-src 'none'; style-src 'sha256-", page.Policy, StringComparison.Ordinal);
        var text = await AskAsync("md");
        Assert.Contains(@"&lt;script&gt;alert('x')&lt;/script&gt; \| \*x\* \[a\](b)", text.Text, StringComparison.Ordinal);
        Assert.DoesNotContain("<script", text.Text, StringComparison.Ordinal);
        Assert.Equal("application/json", (await AskAsync("json")).Type);
        Assert.Equal(HttpStatusCode.BadRequest, (await AskAsync("pdf")).Status);
    }

    [Fact]
    public async Task Given_roles_When_the_register_is_asked_for_Then_the_officer_and_administrators_get_it()
    {
        foreach (var (role, status) in ((string, HttpStatusCode)[])
            [(Roles.DataProtectionOfficer, HttpStatusCode.OK), (Roles.Administrator, HttpStatusCode.OK), (Roles.Partner, HttpStatusCode.Forbidden), (Roles.EpciAgent, HttpStatusCode.Forbidden)])
        {
            var token = await server.Access.LetInAsync($"register-{role}", role);
            Assert.Equal(status, (await server.Access.AskAsync(HttpMethod.Get, "/api/v1/privacy/register", token)).Status);
        }
    }

    private async Task<(HttpStatusCode Status, string? Type, string Text, string? Policy)> AskAsync(string format)
    {
        using var http = new HttpClient { BaseAddress = server.Access.Address };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", server.Administrator);
        using var answer = await http.GetAsync(new Uri($"/api/v1/privacy/register?format={format}", UriKind.Relative));
        return (answer.StatusCode, answer.Content.Headers.ContentType?.MediaType, await answer.Content.ReadAsStringAsync(),
            answer.Headers.TryGetValues("Content-Security-Policy", out var policy) ? policy.Single() : null);
    }
}
