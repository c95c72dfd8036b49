namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>The user's token for the hub, found where other tools put it. It is never printed.</summary>
internal static class HubToken
{
    /// <summary><c>HF_TOKEN</c>, or the file <c>token</c> in <c>HF_HOME</c> or <c>~/.cache/huggingface</c>; null without one.</summary>
    public static string? Find(Func<string, string?> environment)
    {
        if (environment("HF_TOKEN") is { Length: > 0 } given)
        {
            return Usable(given, "HF_TOKEN");
        }

        var home = environment("HF_HOME") is { Length: > 0 } folder
            ? folder
            : Path.Combine(ModelCache.UserCaches(environment), "huggingface");
        var file = Path.Combine(home, "token");
        try
        {
            return File.Exists(file) ? Usable(File.ReadAllText(file), file) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string? Usable(string text, string source)
    {
        var token = text.Trim();
        return token.Length == 0 ? null
            : token.All(c => c is > ' ' and < '\x7f') ? token
            : throw new StableDiffusionException($"{source} holds no usable token: it has characters that no token has");
    }
}
