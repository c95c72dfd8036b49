namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The pictures of one prompt.</summary>
/// <param name="Request">What to draw.</param>
/// <param name="Model">With the LoRAs that the prompt names.</param>
/// <param name="First">Number of the first picture among all.</param>
/// <param name="Files">One for each picture.</param>
internal sealed record PromptJob(GenerationRequest Request, ModelOptions Model, int First, string[] Files);
