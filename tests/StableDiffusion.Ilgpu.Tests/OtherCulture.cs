using System.Globalization;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>While it lives, the test's culture writes numbers as no file, driver or message does: with a comma, and with a minus that is no hyphen (Swedish).</summary>
internal sealed class OtherCulture : IDisposable
{
    private readonly CultureInfo before = CultureInfo.CurrentCulture;

    public OtherCulture()
    {
        var culture = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        (culture.NumberFormat.NumberDecimalSeparator, culture.NumberFormat.NegativeSign) = (",", "\u2212");
        CultureInfo.CurrentCulture = culture;
    }

    public void Dispose() => CultureInfo.CurrentCulture = before;
}
