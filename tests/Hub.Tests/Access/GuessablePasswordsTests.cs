using Intercommunalite.Hub.Access.SignIn;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

public class GuessablePasswordsTests
{
    [Theory]
    [InlineData("motdepasse2026")]
    [InlineData("M0tDeP@sse1234!")]
    [InlineData("Azertyuiop1234")]
    [InlineData("123456789012")]
    [InlineData("987654321098")]
    [InlineData("abababababab")]
    [InlineData("aaaaaaaaaaaaaaa")]
    [InlineData("administrateur!")]
    [InlineData("intercommunalite35")]
    [InlineData("qsdfghjklmwxcvbn")]
    [InlineData("j'aime camille 77")]
    [InlineData("le château d'Essai")]
    public void Given_a_password_that_is_guessed_soon_When_it_is_checked_Then_it_is_refused(string password) =>
        Assert.True(GuessablePasswords.IsGuessable(password, "Camille Essai", "c.essai@example.fr"));

    [Theory]
    [InlineData("quatre chevaux à bascule")]
    [InlineData("correct horse battery staple")]
    [InlineData("k7mx-9pqr-tw3z-hn8c")]
    [InlineData("Le-tilleul-de-la-place")]
    [InlineData("contestation floue")]
    public void Given_a_password_that_takes_long_to_guess_When_it_is_checked_Then_it_is_taken(string password) =>
        Assert.False(GuessablePasswords.IsGuessable(password, "Camille Essai", "c.essai@example.fr"));

    [Fact]
    public void Given_temporary_passwords_When_they_are_made_Then_each_is_another_that_would_be_taken() =>
        Assert.Equal(100, Enumerable.Range(0, 100).Select(_ => Passwords.Temporary()).Where(password => password.Length == 19 && !GuessablePasswords.IsGuessable(password)).Distinct().Count());
}
