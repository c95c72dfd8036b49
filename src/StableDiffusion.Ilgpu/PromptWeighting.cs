namespace StableDiffusion.Ilgpu;

/// <summary>What prompt syntax means.</summary>
public enum PromptWeighting
{
    /// <summary>Prompts are taken literally: brackets, BREAK and editing are text. LoRAs that they name and learned tokens still count.</summary>
    None,

    /// <summary>Encoded tokens are multiplied by their weights, nothing else.</summary>
    Plain,

    /// <summary>As in AUTOMATIC1111's web UI: then each chunk of tokens is rescaled so that its mean is what it was.</summary>
    A1111,
}
