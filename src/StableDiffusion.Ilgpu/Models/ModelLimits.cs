namespace StableDiffusion.Ilgpu.Models;

/// <summary>
/// Far above what any model of this family has: a damaged configuration must not decide how much is recorded or allocated.
/// </summary>
internal static class ModelLimits
{
    public const int Channels = 1 << 14, Levels = 8, Layers = 128, BlockLayers = 16;

    public const int Vocabulary = 1 << 20, Tokens = 1 << 12, Sample = 1 << 12;

    public static void RequireDivisible(ConfigReader c, string key, int value, string of, int whole)
    {
        if (value < 1 || whole % value != 0)
        {
            throw c.Error(key, $"is {NumberText.Of(value)}, which does not divide {of} {whole}");
        }
    }
}
