using System.Text;
using System.Xml.Linq;
using Intercommunalite.Hub.Privacy;
using Microsoft.AspNetCore.DataProtection.XmlEncryption;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>Wraps the keys that protect cookies by the master key: whoever has the database alone cannot make a session.</summary>
internal sealed class KeyRingEncryptor(IKeyWrapping master) : IXmlEncryptor
{
    /// <inheritdoc/>
    public EncryptedXmlInfo Encrypt(XElement plaintextElement) => new(
        new XElement("wrapped", Convert.ToBase64String(master.Wrap(Encoding.UTF8.GetBytes(plaintextElement.ToString(SaveOptions.DisableFormatting))))),
        typeof(KeyRingDecryptor));
}

/// <summary>Gives them back; made by the framework, by its name in what is kept.</summary>
internal sealed class KeyRingDecryptor(IServiceProvider services) : IXmlDecryptor
{
    /// <inheritdoc/>
    public XElement Decrypt(XElement encryptedElement) =>
        XElement.Parse(Encoding.UTF8.GetString(services.GetRequiredService<IKeyWrapping>().Unwrap(Convert.FromBase64String(encryptedElement.Value))));
}
