using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Microsoft.Extensions.Configuration;

namespace Intercommunalite.Connector.Tests.Journal;

public sealed class JournalsTests : IDisposable
{
    private readonly TemporaryFolder _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Given_communes_in_the_settings_When_the_journals_are_opened_Then_each_has_its_own_and_others_have_none()
    {
        await using var journals = new Journals(Settings("35085, 35238,35085"));

        Assert.Equal(["35085", "35238"], journals.All.Select(journal => journal.Commune.ToString()));
        Assert.NotEqual(journals.All.First().Id, journals.All.Last().Id);
        Assert.True(File.Exists(_data.Combine("35238", "journal.db")));
        Assert.Null(journals.Find(CommuneCode.Parse("33063")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("75114")]
    [InlineData("99100")]
    [InlineData("rennes")]
    public void Given_a_code_of_no_commune_of_today_When_the_journals_are_opened_Then_the_setting_is_refused(string communes)
    {
        var refusal = Assert.Throws<InvalidOperationException>(() => new Journals(Settings(communes)));

        Assert.Contains("Connector:Communes", refusal.Message, StringComparison.Ordinal);
    }

    private IConfiguration Settings(string communes) => new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
    {
        ["Connector:DataDirectory"] = _data.FullPath,
        ["Connector:Communes"] = communes,
    }).Build();
}
